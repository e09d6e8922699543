//! A movement of stock as clients see it, and what they send to make one.

use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::{
    http::{ApiError, Fields, Listed, integer, one_of, text},
    timestamp::Timestamp,
};

/// The longest reason, in characters.
const LONGEST_REASON: usize = 200;

/// A change of a stock row's quantity, as the ledger has it.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    /// Its id.
    pub id: i64,
    pub(super) inventory_id: i64,
    /// `INITIAL`, `ORDER`, `ADJUSTMENT`, `RETURN` or `REMOVAL`.
    pub(super) kind: String,
    /// Pieces that came, or went where it is negative.
    pub(super) delta: i32,
    /// What there was then.
    pub(super) quantity_after: i32,
    /// The order that it was for.
    #[schema(required = true)]
    pub(super) order_id: Option<i64>,
    /// Who made it: `key:12` or `account:3`; null if anyone could.
    #[schema(required = true)]
    pub(super) actor: Option<String>,
    /// What they said about it.
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

/// A change of a quantity that is asked for.
#[derive(Clone, Debug, ToSchema)]
pub struct NewMovement {
    /// What to do with the quantity.
    #[schema(value_type = String)]
    kind: Kind,
    /// Pieces that come, go, or are there.
    #[schema(minimum = 0)]
    quantity: i32,
    /// What it is for.
    #[schema(max_length = 200)]
    pub reason: String,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Pieces come.
    Add,
    /// Pieces go.
    Remove,
    /// So many there are.
    Count,
}

impl NewMovement {
    /// Reads the fields; `None` if anything is absent or wrong.
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

    /// What there is afterwards, of what there is now.
    pub fn apply(&self, now: i32) -> Result<i32, ApiError> {
        match self.kind {
            Kind::Count => Ok(self.quantity),
            Kind::Remove if self.quantity > now => Err(ApiError::field(
                "quantity",
                format!("Ensure this value is less than or equal to {now}, which is what there is."),
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
