//! Orders: what clients send, and what they receive.

use std::{fmt, sync::Arc};

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    data::{Customer, Metadata, OrderData},
    progress::{Fulfillment, Progress, Returned, Sums},
    reservation::ReservationStatus,
};
use crate::{
    audit::AuditContext, money::Money, product::ProductSummary, store::StoreSummary, timestamp::Timestamp,
};

/// The message for a product that items name twice.
pub(super) const REPEATED: &str = "Duplicate products in order items";

/// A new order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Id of the store.
    pub store_id: i64,
    /// Items. Each product appears once.
    pub items: Vec<NewItem>,
    /// The actor that places it; `None` while the API is open.
    pub placed_by: Option<Arc<AuditContext>>,
    /// What the client keeps with it, if anything.
    pub data: Option<Arc<OrderData>>,
    /// The reservation that it takes from, if it names one.
    pub reservation: Option<Arc<ReservationClaim>>,
}

/// What an order takes from a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationClaim {
    /// Id of the reservation.
    pub id: i64,
    /// Its products, whose stock is locked with that of the order.
    pub product_ids: Vec<i64>,
    /// Whether units that the order does not take stay reserved.
    pub keep_rest: bool,
}

/// An item of a new order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// Id of the product.
    pub product_id: i64,
    /// Quantity.
    pub quantity: i64,
    /// Unit price in place of the price of the product.
    pub price: Option<Money>,
}

impl NewOrder {
    /// An order with nothing but items.
    pub fn new(store_id: i64, items: Vec<NewItem>) -> Self {
        Self {
            store_id,
            items,
            placed_by: None,
            data: None,
            reservation: None,
        }
    }

    /// The `(store_id, product_id)` pairs that the order and its reservation name.
    pub fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        let reserved = self.reservation.iter().flat_map(|claim| &claim.product_ids);
        let named = self
            .items
            .iter()
            .map(|item| item.product_id)
            .chain(reserved.copied());
        named.map(|product_id| (self.store_id, product_id))
    }

    /// The reference of the client, if there is one.
    pub fn reference(&self) -> Option<&str> {
        self.data.as_deref()?.external_reference.as_deref()
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
    /// It was confirmed, and all its units were cancelled since.
    Cancelled,
}

impl Status {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Confirmed, Self::Rejected, Self::Cancelled];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
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
#[expect(clippy::large_enum_variant, reason = "nearly all orders are placed")]
pub enum Outcome {
    /// It was stored, confirmed or rejected.
    Placed(PlacedOrder),
    /// The store does not exist or is inactive. Nothing was stored.
    NoStore,
    /// Its idempotency key has a stored response. Nothing was done.
    Repeated,
    /// This other order of the store has its reference. Nothing was stored.
    Duplicate(i64),
    /// All items are in stock, but the total is too large. Nothing was stored or taken.
    TotalTooLarge,
    /// Its reservation has ended; with the order that took from it. Nothing was stored.
    ReservationEnded(ReservationStatus, Option<i64>),
    /// Its reservation does not exist. Nothing was stored.
    NoReservation,
}

/// A placed order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
    /// The client's reference; absent if there is none, as the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub external_reference: Option<String>,
    /// Customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub customer: Option<Customer>,
    /// Note.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub note: Option<String>,
    /// Texts by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub metadata: Option<Metadata>,
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
    /// What happened to the units since; absent if nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub progress: Option<Progress>,
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
    /// Rises with every change.
    pub version: i32,
    /// How many of the units were handed over.
    pub fulfillment: Fulfillment,
    /// How many of the units were returned.
    pub returned: Returned,
    /// Sum of the refunds.
    pub refunded_amount: Money,
    /// Items that caused the rejection; only for a rejected order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rejections: Option<Vec<Rejection>>,
    /// The client's reference; absent if there is none, as the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub external_reference: Option<String>,
    /// Customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub customer: Option<Customer>,
    /// Note.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub note: Option<String>,
    /// Texts by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub metadata: Option<Metadata>,
}

impl Order {
    /// The same with items, each beside the id of the order.
    pub(super) fn with_items(self, items: Vec<(i64, OrderItem)>) -> Self {
        let items: Vec<OrderItem> = items.into_iter().map(|(_, item)| item).collect();
        let sums = items.iter().fold(Sums::default(), |sums, item| {
            sums.with(item.quantity, item.progress)
        });
        Self {
            item_count: items.len(),
            // Until here, it says only whether the order is tracked.
            fulfillment: sums.fulfillment(self.fulfillment != Fulfillment::NotTracked),
            returned: sums.returned(),
            items,
            ..self
        }
    }

    /// What the client keeps with the order.
    pub(super) fn data(&self) -> OrderData {
        OrderData {
            external_reference: self.external_reference.clone(),
            customer: self.customer.clone(),
            note: self.note.clone(),
            metadata: self.metadata.clone(),
        }
    }
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
    /// Number of orders of which all units were cancelled.
    pub cancelled_orders: i64,
    /// Sum of the refunds.
    pub refunded_amount: Money,
    /// Totals of the confirmed and the cancelled orders without the refunds.
    pub net_revenue: Money,
}
