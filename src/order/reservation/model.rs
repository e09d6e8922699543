//! Reservations: what clients receive.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::Json};
use utoipa::ToSchema;

use super::status::ReservationStatus;
use crate::{
    http::{ConflictCode, Listed, StateConflict},
    order::{
        data::Metadata,
        model::{NewItem, ReservationClaim},
    },
    timestamp::Timestamp,
};

/// Units that are promised for a time.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
pub struct Reservation {
    /// Id.
    pub id: i64,
    /// Id of the store.
    pub store_id: i64,
    /// Status.
    pub status: ReservationStatus,
    /// Items, by product.
    #[schema(value_type = Vec<ReservationItem>)]
    pub items: Json<Vec<ReservationItem>>,
    /// The time at which it expires, or has expired.
    pub expires_at: Timestamp,
    /// The latest order that took units from it.
    #[schema(required = true)]
    pub order_id: Option<i64>,
    /// Whether it lost units because the store did not have them.
    pub stock_lost: bool,
    /// The client's reference.
    #[schema(required = true)]
    pub reference: Option<String>,
    /// Texts by key.
    #[schema(required = true, value_type = Option<Metadata>)]
    pub metadata: Option<Json<Metadata>>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// Units of a product that are promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReservationItem {
    /// Id of the product.
    pub product_id: i64,
    /// Units that were reserved at first.
    pub quantity: i32,
    /// Units that are still reserved; 0 once the reservation has ended.
    pub reserved: i32,
}

impl Reservation {
    /// The items of an order that takes all that is left. Of one that has ended, all that it had: the order is refused under the locks
    /// of its stock rows, unless it is a repetition.
    pub(in crate::order) fn new_items(&self) -> Vec<NewItem> {
        let has_left = self.items.iter().any(|item| item.reserved > 0);
        let items = self.items.iter().map(|item| NewItem {
            product_id: item.product_id,
            quantity: i64::from(if has_left { item.reserved } else { item.quantity }),
            price: None,
        });
        items.filter(|item| item.quantity > 0).collect()
    }

    /// What an order takes from it.
    pub(in crate::order) fn claim(&self, keep_rest: bool) -> ReservationClaim {
        ReservationClaim {
            id: self.id,
            product_ids: self.items.iter().map(|item| item.product_id).collect(),
            keep_rest,
        }
    }
}

impl Listed for Reservation {
    /// The id, downwards.
    type Key = i64;

    const LIST: &'static str = "reservations";
    const START: i64 = i64::MAX;

    fn key(&self) -> i64 {
        self.id
    }
}

/// The refusal of a request about a reservation that has ended.
pub(in crate::order) fn ended(status: ReservationStatus, order_id: Option<i64>) -> StateConflict {
    let status = status.as_str();
    StateConflict {
        status: Some(status),
        order_id,
        ..StateConflict::new(
            ConflictCode::ReservationEnded,
            format!("The reservation is {status}."),
        )
    }
}

/// The refusal of a request about a reservation that the caller cannot see.
pub(in crate::order) fn not_found() -> StateConflict {
    StateConflict::new(
        ConflictCode::ReservationNotFound,
        "No Reservation matches the given query.",
    )
}
