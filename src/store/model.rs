//! Stores: what clients send, and what they receive.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{Fields, Listed, boolean, one_of, text},
    timestamp::Timestamp,
};

/// A store.
#[derive(Debug, Serialize, ToSchema)]
pub struct Store {
    /// Id.
    pub id: i64,
    /// Name. Need not be unique.
    #[schema(max_length = 200)]
    pub name: String,
    /// Location.
    #[schema(max_length = 300)]
    pub location: String,
    /// Whether the store accepts orders.
    pub is_active: bool,
    /// When the units of its orders are handed over.
    pub fulfillment: StoreFulfillment,
    /// Number of products in its stock list.
    pub inventory_count: i64,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl Listed for Store {
    type Key = (String, i64);

    const LIST: &'static str = "stores";
    const START: Self::Key = (String::new(), 0);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.id)
    }
}

/// A store as part of stock and orders.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StoreSummary {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Location.
    pub location: String,
}

/// The editable fields of a store.
#[derive(Debug, ToSchema)]
pub struct StoreFields {
    /// Name. Need not be unique.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Location.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 300)]
    pub location: Option<String>,
    /// Whether the store accepts orders.
    #[schema(nullable = false, default = true)]
    pub is_active: Option<bool>,
    /// When the units of its orders are handed over, for orders from then on.
    #[schema(nullable = false)]
    pub fulfillment: Option<StoreFulfillment>,
}

/// When the units of a store's orders are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum StoreFulfillment {
    /// When an order is confirmed.
    Immediate,
    /// By fulfilments of the order.
    Tracked,
}

impl StoreFields {
    /// Reads the fields. Absent or invalid ones are `None`.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.required("name", text(200)),
            location: fields.required("location", text(300)),
            is_active: fields.optional("is_active", boolean),
            fulfillment: fields.optional(
                "fulfillment",
                one_of([
                    ("IMMEDIATE", StoreFulfillment::Immediate),
                    ("TRACKED", StoreFulfillment::Tracked),
                ]),
            ),
        }
    }
}
