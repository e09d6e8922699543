//! The commands that change transfers. All are one document: it locks the transfer, then the stock rows of one store; of both
//! only if a new transfer is shipped and received at once.

use super::{
    decision::{Action, ByProduct, Receipt, TransferState},
    document::{NO_SUCH, Subject, TransferDocument},
    model::{Status, Transfer},
    queries,
    request::{
        NewReceipt, NewSettlement, NewShipment, NewTransfer, NewTransferItem, TransferChange, resolve,
        resolve_given,
    },
};
use crate::{
    auth::Stores,
    db::ReadPool,
    http::{
        Answered, ApiError, CommandContext, FieldErrors, FieldSource, IfMatch, Precondition, Presence,
        StateConflict, carry_out,
    },
    ledger::RowKey,
    product, store,
};

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
        return Err(StateConflict::store_required(to.id).into());
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
        if_match: None,
        keys,
    };
    carry_out(context, &document).await
}

/// Changes a draft.
pub async fn change(
    context: &CommandContext,
    id: i64,
    if_match: &IfMatch,
    source: &impl FieldSource,
) -> Result<Transfer, ApiError> {
    if_match.require(&granted(context, id, Side::Source).await?)?;
    let mut fields = source.fields(Presence::Partial)?;
    let read = TransferChange::read(&mut fields);
    let change = fields.finish(read)?;
    let items = match change.items {
        Some(items) => Some(products(context.reads(), items).await?),
        None => None,
    };
    let action = Action::Change {
        items,
        reference: change.reference,
        expected_at: change.expected_at,
    };
    let document = TransferDocument {
        if_match: Some(if_match.clone()),
        ..TransferDocument::of(id, action, change.expected_version, Vec::new())
    };
    Ok(document.carry_out(context).await?.answer)
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
    let items = resolve_given(context.reads(), shipment.items).await?;
    let shipped = transfer.items.iter().map(|item| item.product_id);
    let keys = transfer.rows(transfer.from_store.id, shipped);
    // The rows to lock are those of the draft as it was read: one that was changed since is refused.
    let is_draft = transfer.status == Status::Draft;
    let expected = shipment.expected_version.or(is_draft.then_some(transfer.version));
    TransferDocument::of(id, Action::Ship(items), expected, keys)
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
    let keys = transfer.rows(transfer.to_store.id, arrived.map(|(product, _)| *product));
    let action = Action::Receive {
        items,
        close: receipt.close,
    };
    TransferDocument::of(id, action, receipt.expected_version, keys)
        .carry_out(context)
        .await
}

/// Cancels a draft, or settles what is in transit.
pub async fn cancel(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Transfer>, ApiError> {
    let transfer = granted(context, id, Side::Source).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewSettlement::read(&mut fields);
    let settlement = fields.finish(read)?;
    let items = resolve_given(context.reads(), settlement.items).await?;
    let back = items
        .iter()
        .flatten()
        .filter(|(_, settlement)| settlement.returned > 0);
    let keys = transfer.rows(transfer.from_store.id, back.map(|(product, _)| *product));
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
        return Err(StateConflict::store_required(store).into());
    }
    Ok(transfer)
}

/// The products and units of items. All products must exist.
async fn products(db: &ReadPool, items: Vec<NewTransferItem>) -> Result<ByProduct<i32>, ApiError> {
    let items = resolve(db, items).await?;
    let products: Vec<i64> = items.iter().map(|(product, _)| *product).collect();
    let existing = product::existing(db, &products).await?;
    let items = items.into_iter().map(|(product, units)| {
        if existing.contains(&product) {
            return Ok((product, units));
        }
        let message = format!("Invalid pk \"{product}\" - object does not exist.");
        Err(FieldErrors::field("product_id", message))
    });
    FieldErrors::of_elements("items", items).map_err(ApiError::Invalid)
}

impl Transfer {
    /// The stock rows of products in a store. One of a product that is not in the transfer is left out, so that it is not created.
    fn rows(&self, store: i64, products: impl Iterator<Item = i64>) -> Vec<RowKey> {
        let is_here = |product: &i64| self.items.iter().any(|item| item.product_id == *product);
        let products = products.filter(is_here);
        products.map(|product| RowKey::Pair(store, product)).collect()
    }
}
