//! The bodies of reservations.

use utoipa::ToSchema;

use crate::{
    http::{Fields, boolean, line, positive, text_map, units},
    order::{
        data::{LONGEST_REFERENCE, METADATA, Metadata},
        model::REPEATED,
    },
    product::item::{MOST_ITEMS, ProductUnits, reject_repeated},
};

/// How long units are reserved, in seconds, unless the client says.
const DEFAULT_TTL: i32 = 900;
/// The longest time.
const LONGEST_TTL: i32 = 86_400;

/// A new reservation.
#[derive(Clone, Debug, ToSchema)]
pub struct NewReservation {
    /// Id of the store.
    #[schema(minimum = 1)]
    pub store_id: i64,
    /// Items. Each product may appear once.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Vec<ProductUnits>,
    /// How long the units are reserved.
    #[schema(minimum = 1, maximum = 86_400, default = 900, nullable = false, value_type = Option<i32>)]
    pub ttl_seconds: i32,
    /// The client's reference, such as the id of a cart.
    #[schema(max_length = 100, nullable = false)]
    pub reference: Option<String>,
    /// Up to 50 texts by key: keys of at most 40 characters, texts of at most 500.
    #[schema(nullable = false)]
    pub metadata: Option<Metadata>,
}

/// Another time at which a reservation expires.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct Extension {
    /// How long the units stay reserved from now on.
    #[schema(minimum = 1, maximum = 86_400)]
    pub ttl_seconds: i32,
    /// Whether it may expire earlier than before. Else it keeps the later time.
    #[schema(default = false, nullable = false, value_type = Option<bool>)]
    pub shorten: bool,
}

/// Units that are no longer needed.
#[derive(Clone, Debug, ToSchema)]
pub struct Release {
    /// The items; null or left out for all.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Option<Vec<ProductUnits>>,
}

impl NewReservation {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let store_id = fields.required("store_id", positive);
        let items = fields.required_list("items", MOST_ITEMS, ProductUnits::read);
        reject_repeated(
            fields,
            items.iter().flatten().map(|item| item.product_id),
            REPEATED,
        );
        let ttl_seconds = fields.optional("ttl_seconds", units);
        check_ttl(fields, ttl_seconds);
        let reference = fields.optional("reference", line(LONGEST_REFERENCE));
        let metadata = fields.optional("metadata", text_map(METADATA));
        let metadata = metadata.map(|texts| {
            texts
                .into_iter()
                .filter_map(|(key, text)| Some((key, text?)))
                .collect()
        });
        Some(Self {
            store_id: store_id?,
            items: items?,
            ttl_seconds: ttl_seconds.unwrap_or(DEFAULT_TTL),
            reference,
            metadata,
        })
    }
}

impl Extension {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let ttl_seconds = fields.required("ttl_seconds", units);
        check_ttl(fields, ttl_seconds);
        let shorten = fields.optional("shorten", boolean);
        Some(Self {
            ttl_seconds: ttl_seconds?,
            shorten: shorten.unwrap_or(false),
        })
    }
}

impl Release {
    /// Reads the fields.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        let items = fields.nullable_list("items", MOST_ITEMS, ProductUnits::read);
        let items = items.into_value();
        reject_repeated(
            fields,
            items.iter().flatten().map(|item| item.product_id),
            REPEATED,
        );
        Self { items }
    }
}

fn check_ttl(fields: &mut Fields<'_>, ttl_seconds: Option<i32>) {
    if ttl_seconds > Some(LONGEST_TTL) {
        let message = format!("Ensure this value is less than or equal to {LONGEST_TTL}.");
        fields.reject("ttl_seconds", message);
    }
}
