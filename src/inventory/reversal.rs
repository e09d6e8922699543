//! Reversals: take back adjustments, counts and imports by movements of the opposite sum.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    movement::{LONGEST_REASON, LONGEST_REFERENCE},
    reversal_queries::{self as queries, Reversible},
};
use crate::{
    audit,
    auth::Stores,
    db::ReadPool,
    http::{ApiError, CommandContext, Decided, Document, Fields, boolean, ids, text},
    ledger::{Change, Movement, Recorded, Refusal, RowKey, StockRow},
};

/// Maximum number of movements.
pub(super) const MOST_MOVEMENTS: usize = 1000;

/// A request to reverse movements. Names them by `movement_ids` or by `reference`.
#[derive(Debug, ToSchema)]
pub struct NewReversal {
    /// Ids of the movements, each once.
    #[schema(min_items = 1, max_items = 1000, nullable = false)]
    movement_ids: Option<Vec<i64>>,
    /// Reverses all movements with this reference that can be reversed and are not reversed yet.
    #[schema(max_length = 100, nullable = false)]
    reference: Option<String>,
    /// Reason in words.
    #[schema(max_length = 200)]
    reason: String,
    /// Whether reservations lose the units that the reversal does not leave them, the newest first. Else it is refused.
    #[schema(default = false, nullable = false, value_type = Option<bool>)]
    release_reservations: bool,
    /// The movements, by stock row and id.
    #[schema(ignore)]
    named: Vec<(i64, i64)>,
    #[schema(ignore)]
    keys: Vec<RowKey>,
}

impl NewReversal {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let movement_ids = fields.optional("movement_ids", ids(MOST_MOVEMENTS));
        let reference = fields.optional("reference", text(LONGEST_REFERENCE));
        if fields.is_valid() && movement_ids.is_some() == reference.is_some() {
            fields.reject_all("Send either movement_ids or reference.");
        }
        let distinct: BTreeSet<i64> = movement_ids.iter().flatten().copied().collect();
        if movement_ids
            .as_ref()
            .is_some_and(|ids| ids.len() > distinct.len())
        {
            fields.reject("movement_ids", "Each movement may appear once.");
        }
        let reason = fields.required("reason", text(LONGEST_REASON));
        let release_reservations = fields.optional("release_reservations", boolean);
        Some(Self {
            movement_ids,
            reference,
            reason: reason?,
            release_reservations: release_reservations.unwrap_or(false),
            named: Vec::new(),
            keys: Vec::new(),
        })
    }

    /// Looks up the movements. Those of other stores do not exist for the caller.
    pub async fn resolve(mut self, db: &ReadPool, stores: &Stores) -> Result<Self, ApiError> {
        self.named = match (&self.movement_ids, &self.reference) {
            (Some(ids), _) => queries::by_id(db, ids, stores).await?,
            (None, reference) => {
                let reference = reference.as_deref().unwrap_or_default();
                by_reference(db, reference, stores).await?
            }
        };
        let rows: BTreeSet<i64> = self.named.iter().map(|(row, _)| *row).collect();
        self.keys = rows.into_iter().map(RowKey::Id).collect();
        Ok(self)
    }

    /// The ids of the movements that the client names.
    fn wanted(&self) -> Vec<i64> {
        let named = || self.named.iter().map(|(_, id)| *id).collect();
        self.movement_ids.clone().unwrap_or_else(named)
    }

    /// The movements, all of which must exist and be open to reversal.
    fn check<'a>(&self, rows: &[StockRow], found: &'a [Reversible]) -> Result<Vec<&'a Reversible>, ApiError> {
        let find = |id: i64| {
            let movement = found.iter().find(|movement| movement.id == id);
            movement.filter(|movement| rows.iter().any(|row| row.id == movement.inventory_id))
        };
        let mut movements = Vec::new();
        for id in self.wanted() {
            let unknown = || format!("Invalid pk \"{id}\" - object does not exist.");
            let movement = find(id).ok_or_else(|| self.wrong(unknown()))?;
            if !movement.is_reversible() {
                let kind = &movement.kind;
                let message = format!("Movement {id} is of kind {kind}, which cannot be reversed.");
                return Err(self.wrong(message));
            }
            if movement.reversed_by.is_some() {
                return Err(Refusal::already_reversed(id).into());
            }
            movements.push(movement);
        }
        Ok(movements)
    }

    /// An error of the field that names the movements.
    fn wrong(&self, message: String) -> ApiError {
        let is_by_id = self.movement_ids.is_some();
        ApiError::field(if is_by_id { "movement_ids" } else { "reference" }, message)
    }

    fn change<'a>(&'a self, row: &StockRow, reversed: &[&'a Reversible]) -> Result<Change<'a>, Refusal> {
        let units: i64 = reversed.iter().map(|movement| i64::from(movement.delta)).sum();
        let after = row.plus(-units).map_err(|refusal| refusal.of_row(row.id))?;
        let references: BTreeSet<_> = reversed
            .iter()
            .map(|movement| movement.reference.as_deref())
            .collect();
        Ok(Change {
            reason: Some(&self.reason),
            // So the sum of all movements with the reference becomes 0.
            reference: references
                .first()
                .copied()
                .flatten()
                .filter(|_| references.len() == 1),
            ..Change::new(row.id, Movement::Reversal, (row.quantity, after))
        })
    }

    fn audit_entry(&self, reversed: usize) -> AuditEntry<'_> {
        AuditEntry {
            movements: reversed,
            reference: self.reference.as_deref(),
            reason: &self.reason,
        }
    }
}

/// The movements with a reference that are left to reverse, as stock row and id.
async fn by_reference(db: &ReadPool, reference: &str, stores: &Stores) -> Result<Vec<(i64, i64)>, ApiError> {
    let found = queries::by_reference(db, reference, stores).await?;
    let named = |movement: &Reversible| (movement.inventory_id, movement.id);
    let open: Vec<(i64, i64)> = found
        .iter()
        .filter(|movement| movement.reversed_by.is_none())
        .map(named)
        .collect();
    match found.first() {
        None => Err(ApiError::field(
            "reference",
            "No movement that can be reversed has this reference.",
        )),
        Some(first) if open.is_empty() => Err(Refusal::already_reversed(first.id).into()),
        Some(_) if open.len() > MOST_MOVEMENTS => {
            let message =
                format!("More than {MOST_MOVEMENTS} movements have this reference: send movement_ids.");
            Err(ApiError::field("reference", message))
        }
        Some(_) => Ok(open),
    }
}

/// The results of a reversal.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reversal {
    /// One for each stock row.
    results: Vec<ReversalResult>,
}

/// The change of a stock row.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReversalResult {
    /// Id of the movement of kind `REVERSAL`.
    movement_id: i64,
    /// Id of the stock row.
    inventory_id: i64,
    /// Quantity before the change.
    quantity_before: i32,
    /// Quantity after the change.
    quantity_after: i32,
    /// Ids of the movements that it reverses.
    reverses: Vec<i64>,
}

impl Document for NewReversal {
    /// The named movements as they are under the lock of their rows.
    type Facts = Vec<Reversible>;
    /// For each changed row, its quantities and the movements that are reversed.
    type Decision = Vec<ReversalResult>;
    type Answer = Reversal;

    fn kind(&self) -> &'static str {
        "reversal"
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    fn frees_reserved(&self) -> bool {
        self.release_reservations
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Vec<Reversible>, ApiError> {
        Ok(queries::read(tx, &self.named).await?)
    }

    fn decide<'a>(
        &'a self,
        rows: &[StockRow],
        facts: &'a Vec<Reversible>,
    ) -> Result<Decided<'a, Vec<ReversalResult>>, ApiError> {
        let movements = self.check(rows, facts)?;
        let (mut changes, mut results) = (Vec::new(), Vec::new());
        for row in rows {
            let of_row = movements.iter().copied();
            let of_row: Vec<&Reversible> = of_row
                .filter(|movement| movement.inventory_id == row.id)
                .collect();
            let change = self.change(row, &of_row)?;
            results.push(ReversalResult {
                movement_id: 0,
                inventory_id: row.id,
                quantity_before: change.quantities.0,
                quantity_after: change.quantities.1,
                reverses: of_row.iter().map(|movement| movement.id).collect(),
            });
            changes.push(change);
        }
        Ok(Decided {
            status: StatusCode::CREATED,
            changes,
            decision: results,
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        mut results: Vec<ReversalResult>,
        recorded: &[Option<Recorded>],
    ) -> Result<Reversal, ApiError> {
        for (result, movement) in results.iter_mut().zip(recorded.iter().flatten()) {
            result.movement_id = movement.id;
        }
        let pairs = results.iter().flat_map(|result| {
            let reversal = result.movement_id;
            result.reverses.iter().map(move |id| (*id, reversal))
        });
        queries::insert(&mut *tx, pairs.collect()).await?;
        let entry = self.audit_entry(self.named.len());
        let subject = audit::only_subject("stock", results.iter().map(|result| result.inventory_id));
        let states = (None, Some(&entry));
        audit::record(tx, &context.audit_context(), "stock.reversed", subject, states).await?;
        Ok(Reversal { results })
    }
}

/// The audit entry of a reversal. The ledger has the rest.
#[derive(Serialize)]
struct AuditEntry<'a> {
    movements: usize,
    reference: Option<&'a str>,
    reason: &'a str,
}
