//! Movements of stock: what clients send, and what they receive.

use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::{
    http::{ApiError, Fields, Listed, integer, one_of, text},
    timestamp::Timestamp,
};

/// The longest reason, in characters.
const LONGEST_REASON: usize = 200;

/// A change of a quantity in the ledger.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    /// Id.
    pub id: i64,
    pub(super) inventory_id: i64,
    /// `INITIAL`, `ORDER`, `ADJUSTMENT`, `RETURN` or `REMOVAL`.
    pub(super) kind: String,
    /// Units added; negative if removed.
    pub delta: i32,
    /// Quantity after the change.
    pub quantity_after: i32,
    /// Order that took the stock.
    #[schema(required = true)]
    pub(super) order_id: Option<i64>,
    /// Actor, such as `key:12` or `account:3`; null while the API is open.
    #[schema(required = true)]
    pub(super) actor: Option<String>,
    /// Reason.
    #[schema(required = true)]
    pub(super) reason: Option<String>,
    pub(super) created_at: Timestamp,
}

impl Listed for Movement {
    /// The id, downwards.
    type Key = i64;

    const LIST: &'static str = "movements";
    const START: i64 = i64::MAX;

    fn key(&self) -> i64 {
        self.id
    }
}

/// An adjustment of a quantity.
#[derive(Clone, Debug, ToSchema)]
pub struct NewMovement {
    /// Kind of the adjustment.
    #[schema(value_type = String)]
    kind: Kind,
    /// Units to add or remove, or the counted quantity.
    #[schema(minimum = 0)]
    quantity: i32,
    /// Reason.
    #[schema(max_length = 200)]
    pub reason: String,
}

/// The kind of an adjustment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Adds units.
    Add,
    /// Removes units.
    Remove,
    /// Sets the counted quantity.
    Count,
}

impl NewMovement {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let kinds = [
            ("add", Kind::Add),
            ("remove", Kind::Remove),
            ("count", Kind::Count),
        ];
        let kind = fields.required("kind", one_of(kinds));
        let quantity = fields.required("quantity", integer);
        let reason = fields.required("reason", text(LONGEST_REASON));
        Some(Self {
            kind: kind?,
            quantity: quantity?,
            reason: reason?,
        })
    }

    /// The quantity after the change, from the current one.
    pub fn apply(&self, now: i32) -> Result<i32, ApiError> {
        match self.kind {
            Kind::Count => Ok(self.quantity),
            Kind::Remove if self.quantity > now => Err(ApiError::field(
                "quantity",
                format!("Ensure this value is less than or equal to {now}, the quantity in stock."),
            )),
            Kind::Remove => Ok(now - self.quantity),
            Kind::Add => now.checked_add(self.quantity).ok_or_else(|| {
                let most = i32::MAX - now;
                ApiError::field(
                    "quantity",
                    format!("Ensure this value is less than or equal to {most}."),
                )
            }),
        }
    }
}
