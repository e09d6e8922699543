//! Movements of stock: what clients send, and what they receive.

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::{
    model::{Inventory, NO_SUCH},
    queries,
};
use crate::{
    http::{ApiError, CommandContext, Decided, Document, Fields, Listed, boolean, integer, one_of, text},
    ledger::{Change, Movement as Kind, ReasonCode, Recorded, RowKey, StockRow},
    timestamp::Timestamp,
};

/// The longest reason and the longest reference, in characters.
pub(super) const LONGEST_REASON: usize = 200;
pub(super) const LONGEST_REFERENCE: usize = 100;

/// A change of a quantity in the ledger.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    /// Id.
    pub id: i64,
    pub(super) inventory_id: i64,
    /// `INITIAL`, `ORDER`, `CANCEL`, `FULFILL`, `RETURN`, `ADJUSTMENT`, `REVERSAL`, `TRANSFER_OUT`, `TRANSFER_IN` or `REMOVAL`.
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
    /// Reason as a code.
    #[schema(required = true)]
    pub(super) reason_code: Option<String>,
    /// The client's reference.
    #[schema(required = true)]
    pub(super) reference: Option<String>,
    pub(super) created_at: Timestamp,
    /// Store of the stock row; null if the row is deleted.
    #[schema(required = true)]
    pub(super) store_id: Option<i64>,
    /// Product of the stock row; null if the row is deleted.
    #[schema(required = true)]
    pub(super) product_id: Option<i64>,
    /// Movement that reversed this one.
    #[schema(required = true)]
    pub(super) reversed_by: Option<i64>,
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

/// A movement of a stock row.
#[derive(Clone, Debug, ToSchema)]
pub struct NewMovement {
    /// Kind of the adjustment.
    #[schema(value_type = String)]
    kind: Direction,
    /// Units to add or remove, or the counted quantity.
    #[schema(minimum = 0)]
    quantity: i32,
    /// Reason.
    #[schema(max_length = 200)]
    reason: String,
    /// Reason as a code: `RECEIVED`, `DAMAGED`, `LOST`, `FOUND`, `COUNT`, `CORRECTION`, `SAMPLE`, `PRODUCTION` or `OTHER`.
    #[schema(value_type = Option<String>, nullable = false)]
    reason_code: Option<ReasonCode>,
    /// The client's reference.
    #[schema(max_length = 100, nullable = false)]
    reference: Option<String>,
    /// The movement is refused if this is not the current quantity.
    #[schema(minimum = 0, nullable = false)]
    expected_quantity: Option<i32>,
    /// Whether reservations lose the units that the movement does not leave them, the newest first. Else it is refused.
    #[schema(nullable = false, default = false, value_type = Option<bool>)]
    release_reservations: bool,
    #[schema(ignore)]
    row: [RowKey; 1],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Adds units.
    Add,
    /// Removes units.
    Remove,
    /// Sets the counted quantity.
    Count,
}

impl NewMovement {
    /// Reads the fields of a movement of a row; `None` if one is absent or invalid.
    pub fn read(row: i64, fields: &mut Fields<'_>) -> Option<Self> {
        let kinds = [
            ("add", Direction::Add),
            ("remove", Direction::Remove),
            ("count", Direction::Count),
        ];
        let kind = fields.required("kind", one_of(kinds));
        let quantity = fields.required("quantity", integer);
        let reason = fields.required("reason", text(LONGEST_REASON));
        let reason_code = fields.optional("reason_code", one_of(ReasonCode::ALL));
        let reference = fields.optional("reference", text(LONGEST_REFERENCE));
        let expected_quantity = fields.optional("expected_quantity", integer);
        let release_reservations = fields.optional("release_reservations", boolean);
        Some(Self {
            kind: kind?,
            quantity: quantity?,
            reason: reason?,
            reason_code,
            reference,
            expected_quantity,
            release_reservations: release_reservations.unwrap_or(false),
            row: [RowKey::Id(row)],
        })
    }

    /// The quantity after the change. A quantity that is impossible is an error of the field, other than in adjustments.
    fn apply(&self, row: &StockRow) -> Result<i32, ApiError> {
        row.expect(self.expected_quantity)?;
        let now = row.quantity;
        let after = match self.kind {
            Direction::Count => self.quantity,
            Direction::Remove if self.quantity > now => {
                let message =
                    format!("Ensure this value is less than or equal to {now}, the quantity in stock.");
                return Err(ApiError::field("quantity", message));
            }
            Direction::Remove => now - self.quantity,
            Direction::Add => now.checked_add(self.quantity).ok_or_else(|| {
                let most = i32::MAX - now;
                ApiError::field(
                    "quantity",
                    format!("Ensure this value is less than or equal to {most}."),
                )
            })?,
        };
        Ok(row.set(after)?)
    }
}

impl Document for NewMovement {
    type Facts = ();
    /// The row, and its quantity after the movement.
    type Decision = (StockRow, i32);
    type Answer = Movement;

    fn kind(&self) -> &'static str {
        "movement"
    }

    fn rows(&self) -> &[RowKey] {
        &self.row
    }

    fn frees_reserved(&self) -> bool {
        self.release_reservations
    }

    fn decide(&self, rows: &[StockRow], (): &()) -> Result<Decided<'_, (StockRow, i32)>, ApiError> {
        let row = rows.first().ok_or(NO_SUCH)?;
        let after = self.apply(row)?;
        let change = Change {
            is_count: self.kind == Direction::Count,
            reason_code: self.reason_code,
            reason: Some(&self.reason),
            reference: self.reference.as_deref(),
            ..Change::new(row.id, Kind::Adjustment, (row.quantity, after))
        };
        Ok(Decided {
            status: StatusCode::CREATED,
            changes: vec![change],
            decision: (*row, after),
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        (row, quantity_after): (StockRow, i32),
        recorded: &[Option<Recorded>],
    ) -> Result<Movement, ApiError> {
        let Recorded { id, created_at } = recorded.first().copied().flatten().ok_or(NO_SUCH)?;
        let states = queries::get(&mut *tx, row.id).await?;
        let states = states.map(|after| (after.clone().with_quantity(row.quantity), after));
        let (before, after): (Option<Inventory>, Option<Inventory>) = states.unzip();
        let states = (before.as_ref(), after.as_ref());
        context.record(tx, "stock.changed", row.id, states).await?;
        Ok(Movement {
            id,
            inventory_id: row.id,
            kind: Kind::Adjustment.as_str().to_owned(),
            delta: quantity_after - row.quantity,
            quantity_after,
            order_id: None,
            actor: context.audit_context().actor.label(),
            reason: Some(self.reason.clone()),
            reason_code: self.reason_code.map(|code| code.as_str().to_owned()),
            reference: self.reference.clone(),
            created_at,
            store_id: Some(row.store_id),
            product_id: Some(row.product_id),
            reversed_by: None,
        })
    }
}
