//! The commands that change transfers. All are one document: it locks the transfer, then the stock rows of one store; of both
//! only if a new transfer is shipped and received at once.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::{
    decision::{Action, ByProduct, Move, Receipt, TransferState},
    model::{Status, Transfer},
    queries,
    request::{NewReceipt, NewSettlement, NewShipment, NewTransfer, TransferChange, resolve},
};
use crate::{
    auth::Stores,
    db::{ReadPool, violated_constraint},
    http::{
        Answered, ApiError, CommandContext, Decided, Document, FieldErrors, FieldSource, Nullable, Presence,
        StateConflict, carry_out,
    },
    ledger::{Change, Recorded, Refusal, RefusalCode, RowKey, StockRow},
    store,
};

const NO_SUCH: ApiError = ApiError::NotFound("Transfer");

/// A change of a transfer, or a new one.
#[derive(Debug)]
struct TransferDocument {
    subject: Subject,
    actions: Vec<Action>,
    expected_version: Option<i32>,
    /// The stock rows that it may change.
    keys: Vec<RowKey>,
}

#[derive(Debug)]
enum Subject {
    /// A new transfer, without an id.
    New(TransferState),
    /// The transfer with this id.
    Existing(i64),
}

/// Which store a change belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// A transfer, if one of its stores is granted.
pub async fn get(db: &ReadPool, stores: &Stores, id: i64) -> Result<Transfer, ApiError> {
    let transfer = queries::get(db, id).await?;
    let is_visible = |transfer: &Transfer| {
        [&transfer.from_store, &transfer.to_store]
            .iter()
            .any(|store| stores.contains(store.id))
    };
    transfer.filter(is_visible).ok_or(NO_SUCH)
}

/// Creates a transfer.
pub async fn create(
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<Answered<Transfer>, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewTransfer::read(&mut fields);
    let new = fields.finish_all(read)?;
    let (db, stores) = (context.reads(), &context.caller.grant.stores);
    let (from, to) = (&new.from_store_id, &new.to_store_id);
    // A source that is not granted does not exist for the caller.
    if !stores.contains(from.id) || !store::exists(db, from.id).await? {
        return Err(ApiError::field("from_store_id", from.missing()));
    }
    if !store::exists(db, to.id).await? {
        return Err(ApiError::field("to_store_id", to.missing()));
    }
    if new.immediate && !stores.contains(to.id) {
        return Err(ApiError::StoreRequired(to.id));
    }
    let (from, to) = (from.id, to.id);
    let items = products(db, new.items).await?;
    let mut transfer = TransferState {
        id: 0,
        from_store_id: from,
        to_store_id: to,
        status: Status::Draft,
        reference: new.reference,
        expected_at: new.expected_at,
        version: 0,
        lines: Vec::new(),
    };
    transfer.set_items(&items);
    let (mut actions, mut keys) = (Vec::new(), Vec::new());
    if new.immediate {
        keys = [from, to]
            .iter()
            .flat_map(|store| items.iter().map(|(product, _)| RowKey::Pair(*store, *product)))
            .collect();
        let arrived = |(product, received): (i64, i32)| {
            let receipt = Receipt {
                received,
                ..Receipt::default()
            };
            (product, receipt)
        };
        let receipt = Action::Receive {
            items: items.into_iter().map(arrived).collect(),
            close: false,
        };
        actions = vec![Action::Ship(None), receipt];
    }
    let document = TransferDocument {
        subject: Subject::New(transfer),
        actions,
        expected_version: None,
        keys,
    };
    carry_out(context, &document).await
}

/// Changes a draft.
pub async fn change(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Transfer>, ApiError> {
    granted(context, id, Side::Source).await?;
    let mut fields = source.fields(Presence::Partial)?;
    let read = TransferChange::read(&mut fields);
    let change = fields.finish(read)?;
    let items = match change.items {
        Some(items) => Some(products(context.reads(), items).await?),
        None => None,
    };
    let action = Action::Change {
        items,
        reference: given(change.reference),
        expected_at: given(change.expected_at),
    };
    TransferDocument::of(id, action, change.expected_version, Vec::new())
        .carry_out(context)
        .await
}

/// Ships a draft.
pub async fn ship(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Transfer>, ApiError> {
    let transfer = granted(context, id, Side::Source).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewShipment::read(&mut fields);
    let shipment = fields.finish(read)?;
    let items = match shipment.items {
        Some(items) => Some(resolve(context.reads(), items).await?),
        None => None,
    };
    let from = transfer.from_store.id;
    let keys = transfer
        .items
        .iter()
        .map(|item| RowKey::Pair(from, item.product_id));
    // The rows to lock are those of the draft as it was read: one that was changed since is refused.
    let is_draft = transfer.status == Status::Draft;
    let expected = shipment.expected_version.or(is_draft.then_some(transfer.version));
    TransferDocument::of(id, Action::Ship(items), expected, keys.collect())
        .carry_out(context)
        .await
}

/// Receives what arrived.
pub async fn receive(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Transfer>, ApiError> {
    let transfer = granted(context, id, Side::Destination).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewReceipt::read(&mut fields);
    let receipt = fields.finish(read)?;
    let items = resolve(context.reads(), receipt.items.unwrap_or_default()).await?;
    let arrived = items
        .iter()
        .filter(|(_, receipt)| receipt.received > 0 || receipt.damaged > 0);
    let keys = arrived.map(|(product, _)| RowKey::Pair(transfer.to_store.id, *product));
    let keys = transfer.rows_among(keys);
    let action = Action::Receive {
        items,
        close: receipt.close,
    };
    TransferDocument::of(id, action, receipt.expected_version, keys)
        .carry_out(context)
        .await
}

/// Gives up a draft, or settles what is in transit.
pub async fn cancel(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Transfer>, ApiError> {
    let transfer = granted(context, id, Side::Source).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewSettlement::read(&mut fields);
    let settlement = fields.finish(read)?;
    let items = match settlement.items {
        Some(items) => Some(resolve(context.reads(), items).await?),
        None => None,
    };
    let back = items
        .iter()
        .flatten()
        .filter(|(_, settlement)| settlement.returned > 0);
    let keys = back.map(|(product, _)| RowKey::Pair(transfer.from_store.id, *product));
    let keys = transfer.rows_among(keys);
    TransferDocument::of(id, Action::Cancel(items), settlement.expected_version, keys)
        .carry_out(context)
        .await
}

/// A transfer, if the store that acts is granted.
async fn granted(context: &CommandContext, id: i64, side: Side) -> Result<Transfer, ApiError> {
    let stores = &context.caller.grant.stores;
    let transfer = get(context.reads(), stores, id).await?;
    let store = match side {
        Side::Source => transfer.from_store.id,
        Side::Destination => transfer.to_store.id,
    };
    if !stores.contains(store) {
        return Err(ApiError::StoreRequired(store));
    }
    Ok(transfer)
}

/// The products and units of items. All products must exist.
async fn products(
    db: &ReadPool,
    items: Vec<super::request::NewTransferItem>,
) -> Result<ByProduct<i32>, ApiError> {
    let items = resolve(db, items).await?;
    let products: Vec<i64> = items.iter().map(|(product, _)| *product).collect();
    let existing = queries::existing_products(db, &products).await?;
    if existing.len() == products.len() {
        return Ok(items);
    }
    let errors = products.iter().map(|product| {
        if existing.contains(product) {
            return FieldErrors::Fields(Vec::new());
        }
        let message = format!("Invalid pk \"{product}\" - object does not exist.");
        FieldErrors::field("product_id", message)
    });
    let errors = FieldErrors::Elements(errors.collect());
    Err(ApiError::Invalid(FieldErrors::Fields(vec![("items", errors)])))
}

/// A new value, or none; `None` if the field was left out.
fn given<T>(field: Nullable<T>) -> Option<Option<T>> {
    match field {
        Nullable::Absent => None,
        Nullable::Null => Some(None),
        Nullable::Value(value) => Some(Some(value)),
    }
}

impl Transfer {
    /// The rows of products of the transfer. A row of another product is not created.
    fn rows_among(&self, keys: impl Iterator<Item = RowKey>) -> Vec<RowKey> {
        keys.filter(|key| {
            let is = |product: i64| matches!(key, RowKey::Pair(_, other) if *other == product);
            self.items.iter().any(|item| is(item.product_id))
        })
        .collect()
    }
}

impl TransferDocument {
    fn of(id: i64, action: Action, expected_version: Option<i32>, keys: Vec<RowKey>) -> Self {
        Self {
            subject: Subject::Existing(id),
            actions: vec![action],
            expected_version,
            keys,
        }
    }

    async fn carry_out(&self, context: &CommandContext) -> Result<Answered<Transfer>, ApiError> {
        carry_out(context, self).await
    }

    /// The kind in metrics, and the action in the audit log.
    fn names(&self) -> (&'static str, &'static str) {
        match (&self.subject, self.actions.first()) {
            (Subject::New(_), _) | (_, None) => ("transfer", "transfer.created"),
            (_, Some(Action::Change { .. })) => ("transfer_change", "transfer.changed"),
            (_, Some(Action::Ship(_))) => ("shipment", "transfer.shipped"),
            (_, Some(Action::Receive { .. })) => ("receipt", "transfer.received"),
            (_, Some(Action::Cancel(_))) => ("transfer_cancellation", "transfer.cancelled"),
        }
    }
}

impl Document for TransferDocument {
    /// The transfer under its lock, before the change.
    type Facts = Option<TransferState>;
    /// The transfer after it.
    type Decision = TransferState;
    type Answer = Transfer;

    fn kind(&self) -> &'static str {
        self.names().0
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    /// What is shipped is in stock; what arrives may be new to the store.
    fn creates_rows(&self) -> bool {
        !matches!(self.actions[..], [Action::Ship(_)])
    }

    async fn lock(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        match self.subject {
            Subject::New(_) => Ok(()),
            Subject::Existing(id) => queries::lock(tx, id).await,
        }
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Option<TransferState>, ApiError> {
        match &self.subject {
            Subject::New(transfer) => Ok(Some(TransferState {
                id: queries::next_id(tx).await?,
                ..transfer.clone()
            })),
            Subject::Existing(id) => Ok(queries::read(tx, *id).await?),
        }
    }

    fn decide<'a>(
        &'a self,
        rows: &[StockRow],
        facts: &'a Option<TransferState>,
    ) -> Result<Decided<'a, TransferState>, ApiError> {
        let before = facts.as_ref().ok_or(NO_SUCH)?;
        if self
            .expected_version
            .is_some_and(|expected| expected != before.version)
        {
            return Err(StateConflict::stale_version("transfer", before.version).into());
        }
        let mut transfer = before.clone();
        let mut changes = Vec::new();
        for action in &self.actions {
            for moved in transfer.apply(action)? {
                changes.push(change_of(before, rows, moved)?);
            }
        }
        transfer.version += 1;
        Ok(Decided {
            status: match self.subject {
                Subject::New(_) => StatusCode::CREATED,
                Subject::Existing(_) => StatusCode::OK,
            },
            changes,
            decision: transfer,
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        transfer: TransferState,
        _recorded: &[Option<Recorded>],
    ) -> Result<Transfer, ApiError> {
        queries::write(tx, &transfer).await.map_err(refused)?;
        let after = queries::get(&mut *tx, transfer.id).await?.ok_or(NO_SUCH)?;
        let (_, action) = self.names();
        context.record(tx, action, after.id, (None, Some(&after))).await?;
        Ok(after)
    }
}

/// The change of a stock row, with the reference of the transfer.
fn change_of<'a>(
    transfer: &'a TransferState,
    rows: &[StockRow],
    moved: Move,
) -> Result<Change<'a>, ApiError> {
    let key = RowKey::Pair(moved.store_id, moved.product_id);
    let found = rows.iter().find(|row| row.is(key));
    // A row that exists only in this transaction has no id to name.
    let Some(row) = found.filter(|row| !row.is_new || moved.delta >= 0) else {
        return Err(Refusal {
            code: RefusalCode::InsufficientStock,
            quantity: Some(0),
            ..Refusal::NOT_FOUND
        }
        .into());
    };
    let after = row.plus(moved.delta).map_err(|refusal| refusal.of_row(row.id))?;
    Ok(Change {
        reference: transfer.reference.as_deref(),
        document: Some(("TRANSFER", transfer.id)),
        ..Change::new(row.id, moved.kind, (row.quantity, after))
    })
}

/// A store or a product may have been deleted after it was looked up.
fn refused(error: sqlx::Error) -> ApiError {
    let field = match violated_constraint(&error) {
        Some("transfer_from_store_id_fkey") => "from_store_id",
        Some("transfer_to_store_id_fkey") => "to_store_id",
        Some("transfer_line_product_id_fkey") => "items",
        _ => return error.into(),
    };
    ApiError::field(field, "This was deleted meanwhile.")
}
