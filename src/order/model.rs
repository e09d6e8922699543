//! An order as clients send it and as they see it.

use std::{fmt, sync::Arc};

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    audit::AuditContext,
    http::{Fields, Listed, positive},
    money::Money,
    product::ProductSummary,
    store::StoreSummary,
    timestamp::Timestamp,
};

/// Items that an order may have.
const MOST_ITEMS: usize = 100;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewOrder {
    /// The store that is to have it.
    #[schema(minimum = 1)]
    pub store_id: i64,
    /// What is asked for: each product once.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Vec<NewItem>,
    /// Who places it; nobody in particular while the API is open.
    #[schema(ignore)]
    pub placed_by: Option<Arc<AuditContext>>,
}

/// How much of which product.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewItem {
    /// The product.
    #[schema(minimum = 1)]
    pub product_id: i64,
    /// How many pieces of it.
    #[schema(minimum = 1)]
    pub quantity: i64,
}

impl NewOrder {
    /// The `(store_id, product_id)` pairs that the order names.
    pub fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.items.iter().map(|item| (self.store_id, item.product_id))
    }

    /// Reads an order; `None` if anything is absent or wrong.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let store_id = fields.required("store_id", positive);
        let items = fields.required_list("items", MOST_ITEMS, |item| {
            let product_id = item.required("product_id", positive);
            let quantity = item.required("quantity", positive);
            Some(NewItem {
                product_id: product_id?,
                quantity: quantity?,
            })
        });
        if let Some(items) = &items {
            let mut products: Vec<_> = items.iter().map(|item| item.product_id).collect();
            products.sort_unstable();
            if products.windows(2).any(|pair| pair[0] == pair[1]) {
                fields.reject("items", "Duplicate products in order items");
            }
        }
        Some(Self {
            store_id: store_id?,
            items: items?,
            placed_by: None,
        })
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Status {
    /// Not decided yet.
    Pending,
    /// Its stock was taken.
    Confirmed,
    /// It took no stock.
    Rejected,
}

impl Status {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Confirmed, Self::Rejected];

    /// As the database has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Rejected => "REJECTED",
        }
    }

    /// Reads a status in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

/// What came of an order that was placed.
#[derive(Debug)]
pub enum Outcome {
    /// It was decided and stored, confirmed or rejected.
    Placed(PlacedOrder),
    /// The store does not exist or allocations no orders: nothing was stored.
    NoStore,
    /// Its idempotency key is known: nothing was done this time.
    Repeated,
    /// It would have been confirmed, but its total is beyond what an order can have: nothing was stored or taken.
    TotalTooLarge,
}

/// An order that was just placed.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlacedOrder {
    /// Its id.
    pub id: i64,
    /// Where it was placed.
    pub store: StoreSummary,
    /// Confirmed or rejected.
    pub status: Status,
    /// What its items cost together; nothing for a rejected order.
    pub total_amount: Money,
    /// Why it was rejected; blank for a confirmed order.
    pub rejection_reason: String,
    /// Its items in the order that they were asked for; none for a rejected order.
    pub items: Vec<OrderItem>,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Which items it was rejected for; only for a rejected order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rejections: Option<Vec<Rejection>>,
}

impl PlacedOrder {
    /// What placing it is answered with: 201 where something was taken, 200 where not.
    pub fn status_code(&self) -> StatusCode {
        match self.status {
            Status::Confirmed => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

/// How much of a product was ordered, at what price.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderItem {
    /// Its id.
    pub id: i64,
    /// The product, with the title and the price that it has now.
    pub product: ProductSummary,
    /// How many pieces.
    pub quantity: i32,
    /// What a piece cost when the order was placed.
    pub unit_price: Money,
    /// What all the pieces cost.
    pub subtotal: Money,
    /// The title that the product had when the order was placed.
    pub title_at_order: String,
}

/// An item that an order was rejected for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// The product that was asked for.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "saturated")]
    pub product_id: i64,
    /// What is wrong with it.
    pub code: RejectionCode,
    /// How many pieces were asked for.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "saturated")]
    pub requested: i64,
    /// How many there were.
    pub available: i32,
}

/// Reads a number of a stored rejection. Older versions stored numbers of any size.
fn saturated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = Box::<RawValue>::deserialize(deserializer)?;
    Ok(number.get().parse().unwrap_or(i64::MAX))
}

/// Why an item could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCode {
    /// There is no such product, or it is not active.
    ProductNotFound,
    /// The store does not keep the product.
    NotInStore,
    /// The store has fewer pieces.
    InsufficientStock,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    /// Its id.
    pub id: i64,
    /// Where it was placed.
    pub store: StoreSummary,
    /// Where it stands.
    pub status: Status,
    /// What its items cost together; nothing for a rejected order.
    pub total_amount: Money,
    /// Why it was rejected; blank otherwise.
    pub rejection_reason: String,
    /// Its items in the order that they were asked for; none for a rejected order.
    pub items: Vec<OrderItem>,
    /// How many items it has.
    pub item_count: usize,
    /// Whether it was confirmed.
    pub is_confirmed: bool,
    /// Whether it was rejected.
    pub is_rejected: bool,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// Which items it was rejected for; only for a rejected order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rejections: Option<Vec<Rejection>>,
}

/// An order as a row of the list.
#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct OrderRow {
    id: i64,
    store_name: String,
    store_location: String,
    status: Status,
    total_amount: Money,
    item_count: i64,
    created_at: Timestamp,
}

impl Listed for OrderRow {
    type Key = i64;

    const LIST: &'static str = "orders";
    const START: Self::Key = i64::MAX;

    fn key(&self) -> Self::Key {
        self.id
    }
}

/// Which orders a list shows.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these stores.
    pub stores: Option<Vec<i64>>,
    /// Only orders that stand so.
    pub status: Option<Status>,
}

/// Orders in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// All of them.
    pub total_orders: i64,
    /// Those confirmed.
    pub confirmed_orders: i64,
    /// Those rejected.
    pub rejected_orders: i64,
    /// Those not decided yet.
    pub pending_orders: i64,
    /// What the confirmed ones brought.
    pub total_revenue: Money,
    /// What a confirmed one brought on average, rounded half to even; `"0"` without one.
    pub avg_order_value: String,
}
