//! Adjustments: changes of up to 1,000 stock rows in one request.

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::movement::{LONGEST_REASON, LONGEST_REFERENCE};
use crate::{
    audit,
    db::ReadPool,
    http::{
        ApiError, BatchMode, CommandContext, Decided, Document, Fields, MOST_ITEMS, Nullable, boolean, code,
        delta, integer, one_of, positive, text,
    },
    ledger::{Change, Movement, ReasonCode, Recorded, Refusal, RefusalCode, RowKey, StockRow},
    product::codes,
};

/// A request for changes of stock rows.
#[derive(Debug, ToSchema)]
pub struct NewAdjustments {
    /// `all_or_nothing` writes nothing if an item fails; `per_item` writes the others.
    #[schema(value_type = Option<String>, default = "all_or_nothing")]
    mode: BatchMode,
    /// Reason of the items that have none: `RECEIVED`, `DAMAGED`, `LOST`, `FOUND`, `COUNT`, `CORRECTION`, `SAMPLE`,
    /// `PRODUCTION` or `OTHER`.
    #[schema(value_type = Option<String>)]
    reason_code: Option<ReasonCode>,
    /// The client's reference, such as the number of a delivery note.
    #[schema(max_length = 100, nullable = false)]
    reference: Option<String>,
    /// Reason in words.
    #[schema(max_length = 200, nullable = false)]
    note: Option<String>,
    /// Creates stock rows that do not exist, with a quantity of zero.
    #[schema(default = false, value_type = Option<bool>)]
    create_missing: bool,
    /// Whether reservations lose the units that a lower quantity does not leave them, the newest first. Else the item fails.
    #[schema(default = false, value_type = Option<bool>)]
    release_reservations: bool,
    /// Items. Each stock row may appear once.
    #[schema(min_items = 1, max_items = 1000)]
    adjustments: Vec<NewAdjustment>,
    #[schema(ignore)]
    keys: Vec<RowKey>,
}

/// The change of a stock row. Names the row by `inventory_id`, or by `store_id` with `product_id` or `sku`. Has either `delta` or `set_to`.
#[derive(Clone, Debug, ToSchema)]
pub struct NewAdjustment {
    /// Id of the stock row.
    #[schema(nullable = false)]
    inventory_id: Option<i64>,
    /// Id of the store.
    #[schema(nullable = false)]
    store_id: Option<i64>,
    /// Id of the product.
    #[schema(nullable = false)]
    product_id: Option<i64>,
    /// SKU of the product.
    #[schema(nullable = false, max_length = 64)]
    sku: Option<String>,
    /// Units to add; negative to remove. Not 0.
    #[schema(nullable = false)]
    delta: Option<i32>,
    /// Quantity to set. Needs `expected_quantity`.
    #[schema(nullable = false, minimum = 0)]
    set_to: Option<i32>,
    /// The item fails if this is not the current quantity. With null, `set_to` overwrites any quantity.
    #[schema(minimum = 0)]
    expected_quantity: Option<i32>,
    /// Reason, if it differs from that of the request.
    #[schema(value_type = Option<String>, nullable = false)]
    reason_code: Option<ReasonCode>,
}

impl NewAdjustments {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let mode = BatchMode::read(fields);
        let reason_code = fields.optional("reason_code", one_of(ReasonCode::ALL));
        let reference = fields.optional("reference", text(LONGEST_REFERENCE));
        let note = fields.optional("note", text(LONGEST_REASON));
        let create_missing = fields.optional("create_missing", boolean);
        let release_reservations = fields.optional("release_reservations", boolean);
        let adjustments = fields.required_list("adjustments", MOST_ITEMS, NewAdjustment::read)?;
        if reason_code.is_none() && adjustments.iter().any(|item| item.reason_code.is_none()) {
            fields.reject("reason_code", "This field is required, here or in each item.");
        }
        Some(Self {
            mode,
            reason_code,
            reference,
            note,
            create_missing: create_missing.unwrap_or(false),
            release_reservations: release_reservations.unwrap_or(false),
            adjustments,
            keys: Vec::new(),
        })
    }

    /// Looks up the products of SKUs.
    pub async fn resolve(mut self, db: &ReadPool) -> Result<Self, ApiError> {
        let skus: Vec<Option<&str>> = self.adjustments.iter().map(|item| item.sku.as_deref()).collect();
        let products = codes::resolve(db, "adjustments", &skus).await?;
        let keys = self.adjustments.iter().zip(products);
        self.keys = keys.filter_map(|(item, product)| item.key(product)).collect();
        Ok(self)
    }
}

impl NewAdjustment {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let expected = fields.nullable("expected_quantity", integer);
        let read = Self {
            inventory_id: fields.optional("inventory_id", positive),
            store_id: fields.optional("store_id", positive),
            product_id: fields.optional("product_id", positive),
            sku: fields.optional("sku", code),
            delta: fields.optional("delta", delta),
            set_to: fields.optional("set_to", integer),
            expected_quantity: expected.value().copied(),
            reason_code: fields.optional("reason_code", one_of(ReasonCode::ALL)),
        };
        if !fields.is_valid() {
            return None;
        }
        // Any id in place of that of the SKU's product.
        if read.key(read.sku.as_ref().map(|_| 0)).is_none() {
            fields.reject_all("Name the stock row by inventory_id, or by store_id with product_id or sku.");
        }
        if read.delta.is_some() == read.set_to.is_some() {
            fields.reject_all("Send either delta or set_to.");
        }
        if read.set_to.is_some() && expected == Nullable::Absent {
            let message = "This field is required with set_to. Send null to overwrite any quantity.";
            fields.reject("expected_quantity", message);
        }
        Some(read)
    }

    /// The stock row, with the product that the SKU names.
    fn key(&self, product_of_sku: Option<i64>) -> Option<RowKey> {
        match (self.inventory_id, self.store_id, self.product_id, product_of_sku) {
            (Some(id), None, None, None) => Some(RowKey::Id(id)),
            (None, Some(store), Some(product), None) | (None, Some(store), None, Some(product)) => {
                Some(RowKey::Pair(store, product))
            }
            _ => None,
        }
    }

    /// The quantity after the change.
    fn apply(&self, row: &StockRow) -> Result<i32, Refusal> {
        row.expect(self.expected_quantity)?;
        match self.set_to {
            Some(quantity) => row.set(quantity),
            None => row.plus(self.delta.unwrap_or(0)),
        }
    }
}

/// The results of adjustments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adjustments {
    /// One for each item, in the same sequence.
    results: Vec<AdjustmentResult>,
    /// Number of items that were applied, or that left the quantity unchanged.
    applied: usize,
    /// Number of items that failed.
    failed: usize,
}

/// The result of an item.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdjustmentResult {
    /// Index of the item.
    index: usize,
    status: ResultStatus,
    /// Id of the stock row, if it existed before or was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    inventory_id: Option<i64>,
    /// Quantity before the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity_before: Option<i32>,
    /// Quantity after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity_after: Option<i32>,
    /// Id of the movement.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    movement_id: Option<i64>,
    /// Why the item failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<RefusalCode>,
    /// Current quantity, if the item failed because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<i32>,
    /// Reserved units, if the item failed because of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reserved: Option<i32>,
}

/// The status of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResultStatus {
    /// The quantity was changed.
    Applied,
    /// `set_to` equals the quantity. A movement of 0 was written.
    Unchanged,
    /// The item was refused.
    Failed,
    /// Another item failed, so nothing was written.
    Skipped,
}

impl AdjustmentResult {
    fn new(index: usize, (row, applied): (Option<&StockRow>, Result<i32, Refusal>)) -> Self {
        let (before, refusal) = (row.map(|row| row.quantity), applied.err());
        let status = match applied {
            Err(_) => ResultStatus::Failed,
            Ok(after) if before == Some(after) => ResultStatus::Unchanged,
            Ok(_) => ResultStatus::Applied,
        };
        let stays = |row: &StockRow| applied.is_ok() || !row.is_new;
        Self {
            index,
            status,
            inventory_id: row.filter(|row| stays(row)).map(|row| row.id),
            quantity_before: before.filter(|_| applied.is_ok()),
            quantity_after: applied.ok(),
            movement_id: None,
            code: refusal.map(|refusal| refusal.code),
            quantity: refusal.and_then(|refusal| refusal.quantity),
            reserved: refusal.and_then(|refusal| refusal.reserved),
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.status, ResultStatus::Applied | ResultStatus::Unchanged)
    }

    fn skip(&mut self, row: Option<&StockRow>) {
        self.inventory_id = self.inventory_id.filter(|_| row.is_some_and(|row| !row.is_new));
        if self.is_done() {
            self.status = ResultStatus::Skipped;
            (self.quantity_before, self.quantity_after) = (None, None);
        }
    }
}

impl Document for NewAdjustments {
    type Facts = ();
    type Decision = Vec<AdjustmentResult>;
    type Answer = Adjustments;

    fn kind(&self) -> &'static str {
        "adjustment"
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    fn creates_rows(&self) -> bool {
        self.create_missing
    }

    fn frees_reserved(&self) -> bool {
        self.release_reservations
    }

    fn decide(&self, rows: &[StockRow], (): &()) -> Result<Decided<'_, Vec<AdjustmentResult>>, ApiError> {
        let found: Vec<Option<&StockRow>> = self.keys.iter().map(|key| find(rows, *key)).collect();
        refuse_repeated(&found)?;
        let applied = found.iter().zip(&self.adjustments).map(|(row, item)| {
            let applied = row.ok_or(Refusal::NOT_FOUND).and_then(|row| item.apply(row));
            (*row, applied)
        });
        let mut results: Vec<_> = (0..)
            .zip(applied)
            .map(|(index, applied)| AdjustmentResult::new(index, applied))
            .collect();
        let is_refused =
            self.mode == BatchMode::AllOrNothing && results.iter().any(|result| !result.is_done());
        if is_refused {
            let skipped = results.iter_mut().zip(&found);
            skipped.for_each(|(result, row)| result.skip(*row));
        }
        let changes = results.iter().zip(&self.adjustments);
        Ok(Decided {
            status: if is_refused {
                StatusCode::CONFLICT
            } else {
                StatusCode::OK
            },
            changes: changes
                .filter_map(|(result, item)| self.change(result, item))
                .collect(),
            decision: results,
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        mut results: Vec<AdjustmentResult>,
        recorded: &[Option<Recorded>],
    ) -> Result<Adjustments, ApiError> {
        let done = results.iter_mut().filter(|result| result.is_done());
        for (result, movement) in done.zip(recorded) {
            result.movement_id = movement.map(|movement| movement.id);
        }
        if !recorded.is_empty() {
            let entry = self.audit_entry(recorded.len());
            let changed = results.iter().filter(|result| result.is_done());
            let subject = audit::only_subject("stock", changed.filter_map(|result| result.inventory_id));
            let states = (None, Some(&entry));
            audit::record(tx, &context.audit_context(), "stock.adjusted", subject, states).await?;
        }
        let count = |of: fn(&AdjustmentResult) -> bool| results.iter().filter(|result| of(result)).count();
        Ok(Adjustments {
            applied: count(AdjustmentResult::is_done),
            failed: count(|result| result.code.is_some()),
            results,
        })
    }
}

impl NewAdjustments {
    fn change(&self, result: &AdjustmentResult, item: &NewAdjustment) -> Option<Change<'_>> {
        let quantities = (result.quantity_before?, result.quantity_after?);
        Some(Change {
            is_count: item.set_to.is_some(),
            reason_code: item.reason_code.or(self.reason_code),
            reason: self.note.as_deref(),
            reference: self.reference.as_deref(),
            ..Change::new(result.inventory_id?, Movement::Adjustment, quantities)
        })
    }

    fn audit_entry(&self, movements: usize) -> AuditEntry<'_> {
        AuditEntry {
            movements,
            reason_code: self.reason_code.map(ReasonCode::as_str),
            reference: self.reference.as_deref(),
        }
    }
}

/// The audit entry of adjustments. The ledger has the rest.
#[derive(Serialize)]
struct AuditEntry<'a> {
    movements: usize,
    reason_code: Option<&'static str>,
    reference: Option<&'a str>,
}

/// Rows are sorted by `(store_id, product_id)`, and at most a thousand.
fn find(rows: &[StockRow], key: RowKey) -> Option<&StockRow> {
    rows.iter().find(|row| row.is(key))
}

/// Refuses a request that names a stock row twice.
fn refuse_repeated(found: &[Option<&StockRow>]) -> Result<(), ApiError> {
    let mut ids: Vec<i64> = found.iter().flatten().map(|row| row.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ApiError::field("adjustments", "Each stock row may appear once."));
    }
    Ok(())
}
