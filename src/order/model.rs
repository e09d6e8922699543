//! Orders: what clients send, and what they receive.

use std::{fmt, sync::Arc};

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sqlx::{FromRow, Row, postgres::PgRow};
use utoipa::ToSchema;

use crate::{
    audit::AuditContext,
    http::{Fields, Listed, positive},
    money::Money,
    product::ProductSummary,
    store::StoreSummary,
    timestamp::Timestamp,
};

/// Maximum number of items of an order.
const MOST_ITEMS: usize = 100;

/// A new order.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewOrder {
    /// Id of the store.
    #[schema(minimum = 1)]
    pub store_id: i64,
    /// Items. Each product may appear once.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Vec<NewItem>,
    /// The actor that places it; `None` while the API is open.
    #[schema(ignore)]
    pub placed_by: Option<Arc<AuditContext>>,
}

/// An item of a new order.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewItem {
    /// Id of the product.
    #[schema(minimum = 1)]
    pub product_id: i64,
    /// Quantity.
    #[schema(minimum = 1)]
    pub quantity: i64,
}

impl NewOrder {
    /// The `(store_id, product_id)` pairs that the order names.
    pub fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.items.iter().map(|item| (self.store_id, item.product_id))
    }

    /// Reads an order; `None` if a field is absent or invalid.
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

/// The status of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Status {
    /// Not decided.
    Pending,
    /// Its stock was deducted.
    Confirmed,
    /// No stock was deducted.
    Rejected,
}

impl Status {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Confirmed, Self::Rejected];

    /// The name in the database.
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

/// The outcome of placing an order.
#[derive(Debug)]
pub enum Outcome {
    /// It was stored, confirmed or rejected.
    Placed(PlacedOrder),
    /// The store does not exist or is inactive. Nothing was stored.
    NoStore,
    /// Its idempotency key has a stored response. Nothing was done.
    Repeated,
    /// All items are in stock, but the total is too large. Nothing was stored or taken.
    TotalTooLarge,
}

/// A placed order.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlacedOrder {
    /// Id.
    pub id: i64,
    /// Store.
    pub store: StoreSummary,
    /// `CONFIRMED` or `REJECTED`.
    pub status: Status,
    /// Total of the items; 0 for a rejected order.
    pub total_amount: Money,
    /// Reason of a rejection; blank for other orders.
    pub rejection_reason: String,
    /// Items in the sequence of the request; none for a rejected order.
    pub items: Vec<OrderItem>,
    /// Time of the order.
    pub created_at: Timestamp,
    /// Items that caused the rejection; only for a rejected order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rejections: Option<Vec<Rejection>>,
}

impl PlacedOrder {
    /// The HTTP status of the response: 201 if units were taken, else 200.
    pub fn status_code(&self) -> StatusCode {
        match self.status {
            Status::Confirmed => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

/// An item of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderItem {
    /// Id.
    pub id: i64,
    /// Product, with its current title and price.
    pub product: ProductSummary,
    /// Quantity.
    pub quantity: i32,
    /// Unit price at the time of the order.
    pub unit_price: Money,
    /// Unit price times quantity.
    pub subtotal: Money,
    /// Title at the time of the order.
    pub title_at_order: String,
}

/// An item that caused a rejection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// Id of the product.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "saturated")]
    pub product_id: i64,
    /// Reason.
    pub code: RejectionCode,
    /// Requested quantity.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "saturated")]
    pub requested: i64,
    /// Available quantity.
    pub available: i32,
}

/// Reads a number of a stored rejection. Older versions stored numbers of any size.
fn saturated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = Box::<RawValue>::deserialize(deserializer)?;
    Ok(number.get().parse().unwrap_or(i64::MAX))
}

/// Why an item caused a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCode {
    /// The product does not exist or is inactive.
    ProductNotFound,
    /// The store does not stock the product.
    NotInStore,
    /// The quantity in stock is too low.
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
    /// Id.
    pub id: i64,
    /// Store.
    pub store: StoreSummary,
    /// Status.
    pub status: Status,
    /// Total of the items; 0 for a rejected order.
    pub total_amount: Money,
    /// Reason of a rejection; blank for other orders.
    pub rejection_reason: String,
    /// Items in the sequence of the request; none for a rejected order.
    pub items: Vec<OrderItem>,
    /// Number of items.
    pub item_count: usize,
    /// Whether the order was confirmed.
    pub is_confirmed: bool,
    /// Whether the order was rejected.
    pub is_rejected: bool,
    /// Time of the order.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Items that caused the rejection; only for a rejected order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rejections: Option<Vec<Rejection>>,
}

/// An order as a row of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderRow {
    id: i64,
    store_name: String,
    store_location: String,
    status: Status,
    total_amount: Money,
    item_count: i64,
    created_at: Timestamp,
}

/// From the second column on, because the first is the count.
impl FromRow<'_, PgRow> for OrderRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get_unchecked(1)?,
            store_name: row.try_get_unchecked(2)?,
            store_location: row.try_get_unchecked(3)?,
            status: row.try_get_unchecked(4)?,
            total_amount: row.try_get_unchecked(5)?,
            item_count: row.try_get_unchecked(6)?,
            created_at: row.try_get_unchecked(7)?,
        })
    }
}

impl Listed for OrderRow {
    type Key = i64;

    const LIST: &'static str = "orders";
    const START: Self::Key = i64::MAX;

    fn key(&self) -> Self::Key {
        self.id
    }
}

/// A filter of the list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these stores.
    pub stores: Option<Vec<i64>>,
    /// Only orders with this status.
    pub status: Option<Status>,
}

/// Order statistics.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Number of orders.
    pub total_orders: i64,
    /// Number of confirmed orders.
    pub confirmed_orders: i64,
    /// Number of rejected orders.
    pub rejected_orders: i64,
    /// Number of undecided orders.
    pub pending_orders: i64,
    /// Total of the confirmed orders.
    pub total_revenue: Money,
    /// Average total of the confirmed orders, rounded half to even; `"0"` without one.
    pub avg_order_value: String,
}
