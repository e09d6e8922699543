//! The commands that change stock. A quantity changes under the lock of its row, together with a ledger entry.

use std::slice;

use sqlx::PgConnection;

use super::{
    adjustment::{Adjustments, NewAdjustments},
    model::{Inventory, InventoryFields, NO_SUCH},
    movement::{Movement, NewMovement},
    queries,
    reversal::{NewReversal, Reversal},
};
use crate::{
    auth::Stores,
    db::{self, ReadPool, violated_constraint},
    http::{
        Answered, ApiError, CommandContext, ConflictCode, FieldSource, Precondition, Presence, StateConflict,
        carry_out,
    },
    ledger::{self, Change, Movement as Kind, Refusal, StockScope},
    product, store,
};

const DOCUMENTED: &str =
    "Cannot move this stock to another store or product: transfers or stock counts refer to it.";
const IN_TRANSIT: &str = "Units are in transit from or to this stock.";
const BEING_COUNTED: &str = "An open stock count has a line of this stock.";

/// Creates the stock of a product in a store, with its first movement.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Inventory, ApiError> {
    let stores = &context.caller.grant.stores;
    let fields = read(context.reads(), stores, source, Presence::Complete).await?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let inserted = queries::insert(&mut *tx, &fields).await;
        let id = inserted.map_err(|error| refused(error, &fields))?;
        if let Some(quantity) = fields.quantity.filter(|quantity| *quantity > 0) {
            let change = Change {
                is_count: true,
                ..Change::new(id, Kind::Initial, (0, quantity))
            };
            ledger::write(&mut *tx, &[change], by.actor.label().as_deref()).await?;
        }
        let created = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        context.commit_created(tx, "stock.created", id, &created).await?;
        Ok(created)
    })
    .await
}

/// Writes the given fields, if the precondition holds. A row that orders took from keeps its store and product, because orders,
/// ledger and flags refer to both through it.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Inventory, ApiError> {
    let stores = &context.caller.grant.stores;
    expected.require(&granted(context.reads(), stores, id).await?)?;
    let fields = read(context.reads(), stores, source, presence).await?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let locked = queries::lock(&mut tx, id, stores, fields.release_reservations).await?;
        let before = locked.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        let row = before.to_row();
        row.expect(fields.expected_quantity)?;
        let is_moved = fields.moves(&before);
        if is_moved {
            row.expect_unused()?;
        }
        let open = row.open(fields.release_reservations);
        let quantity = open.set(fields.quantity.unwrap_or(row.quantity))?;
        let updated = queries::update(&mut *tx, id, &fields).await;
        updated.map_err(|error| refused(error, &fields))?;
        // Checked after the update, whose error about an existing pair comes first.
        if is_moved && ledger::lock(&mut tx, StockScope::Row(id)).await? {
            return Err(Refusal::IN_USE.into());
        }
        if is_moved && queries::documents(&mut *tx, &before).await?.any {
            return Err(StateConflict::new(ConflictCode::InUse, DOCUMENTED).into());
        }
        let actor = by.actor.label();
        if is_moved {
            record_move(&mut tx, &before, quantity, actor.as_deref()).await?;
        } else if fields.quantity.is_some() {
            let change = Change {
                is_count: true,
                ..Change::new(id, Kind::Adjustment, (row.quantity, quantity))
            };
            ledger::free_excess(&mut tx, &[row], slice::from_ref(&change)).await?;
            ledger::write(&mut *tx, &[change], actor.as_deref()).await?;
        }
        let after = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        let states = (Some(&before), Some(&after));
        context.commit(tx, "stock.changed", id, states).await?;
        Ok(after)
    })
    .await
}

/// Deletes a stock row with its remaining units.
pub async fn delete(context: &CommandContext, id: i64, expected: &impl Precondition) -> Result<(), ApiError> {
    let (by, stores) = (context.audit_context(), &context.caller.grant.stores);
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let before = queries::lock(&mut tx, id, stores, false).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        before.to_row().expect_unused()?;
        let documents = queries::documents(&mut *tx, &before).await?;
        if documents.in_transit || documents.open_counts {
            let detail = if documents.in_transit {
                IN_TRANSIT
            } else {
                BEING_COUNTED
            };
            return Err(StateConflict::new(ConflictCode::InUse, detail).into());
        }
        ledger::remove(&mut tx, StockScope::Row(id), by.actor.label().as_deref()).await?;
        context
            .commit(tx, "stock.deleted", id, (Some(&before), None))
            .await
    })
    .await
}

/// Changes a quantity, with a reason in the ledger.
pub async fn adjust(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Movement>, ApiError> {
    granted(context.reads(), &context.caller.grant.stores, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewMovement::read(id, &mut fields);
    carry_out(context, &fields.finish_all(read)?).await
}

/// Changes up to 1,000 quantities.
pub async fn adjust_many(
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<Answered<Adjustments>, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewAdjustments::read(&mut fields);
    let adjustments = fields.finish_all(read)?.resolve(context.reads()).await?;
    carry_out(context, &adjustments).await
}

/// Reverses movements, each once.
pub async fn reverse(
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<Answered<Reversal>, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewReversal::read(&mut fields);
    let stores = &context.caller.grant.stores;
    let reversal = fields.finish_all(read)?.resolve(context.reads(), stores).await?;
    carry_out(context, &reversal).await
}

/// A row, if its store is granted.
pub(super) async fn granted(db: &ReadPool, stores: &Stores, id: i64) -> Result<Inventory, ApiError> {
    let row = queries::get(db, id).await?;
    row.filter(|row| stores.contains(row.store.id)).ok_or(NO_SUCH)
}

/// Reads the fields, and looks up store and product. A store that is not granted does not exist for the caller.
async fn read(
    db: &ReadPool,
    stores: &Stores,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<InventoryFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = InventoryFields::read(&mut fields);
    if let Some(reference) = &read.store_id
        && !(stores.contains(reference.id) && store::exists(db, reference.id).await?)
    {
        fields.reject("store_id", reference.missing());
    }
    if let Some(reference) = &read.product_id
        && !product::exists(db, reference.id).await?
    {
        fields.reject("product_id", reference.missing());
    }
    fields.finish(read)
}

/// Ends the row's history for one store and product, and begins it for the others.
async fn record_move(
    tx: &mut PgConnection,
    before: &Inventory,
    quantity: i32,
    actor: Option<&str>,
) -> Result<(), ApiError> {
    let after = queries::get(&mut *tx, before.id).await?.ok_or(NO_SUCH)?;
    let name = |row: &Inventory| format!("product {} in store {}", row.product.id, row.store.id);
    let (to, from) = (
        format!("Moved to {}", name(&after)),
        format!("Moved from {}", name(before)),
    );
    let removal = Change {
        reason: Some(&to),
        ..Change::new(before.id, Kind::Removal, (before.quantity, 0))
    };
    let initial = Change {
        is_count: true,
        reason: Some(&from),
        ..Change::new(before.id, Kind::Initial, (0, quantity))
    };
    ledger::write(&mut *tx, &[removal], actor).await?;
    ledger::write(tx, &[initial], actor).await?;
    Ok(())
}

/// The pair may exist already. Store or product may have been deleted after they were looked up.
fn refused(error: sqlx::Error, fields: &InventoryFields) -> ApiError {
    match (violated_constraint(&error), &fields.store_id, &fields.product_id) {
        (Some("inventory_store_product_key"), ..) => {
            ApiError::non_field("The fields store_id, product_id must make a unique set.")
        }
        (Some("inventory_store_id_fkey"), Some(store), _) => ApiError::field("store_id", store.missing()),
        (Some("inventory_product_id_fkey"), _, Some(product)) => {
            ApiError::field("product_id", product.missing())
        }
        _ => error.into(),
    }
}
