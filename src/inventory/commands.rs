//! The commands that change stock. A quantity changes under the lock of its row, together with a ledger entry.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::{
    model::{Inventory, InventoryFields},
    movement::{Movement, NewMovement},
    movement_queries, queries,
};
use crate::{
    auth::Stores,
    db::{self, ReadPool, violated_constraint},
    http::{ApiError, CommandContext, FieldSource, Precondition, Presence},
    ledger::{self, Movement as Kind, StockScope},
    product, store,
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Inventory");
const ORDERED: &str = "Cannot move this stock to another store or product: orders refer to it.";

/// Creates the stock of a product in a store, with its first movement.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Inventory, ApiError> {
    let stores = &context.caller.grant.stores;
    let fields = read(context.reads(), stores, source, Presence::Complete).await?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let inserted = queries::insert(&mut *tx, &fields).await;
        let (id, quantity) = inserted.map_err(|error| refused(error, &fields))?;
        let (change, actor) = ((0, quantity), by.actor.label());
        ledger::record(&mut *tx, id, Kind::Initial, change, actor.as_deref(), None).await?;
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
        let before = queries::lock(&mut tx, id, stores).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        let is_moved = fields.moves(&before);
        let updated = queries::update(&mut *tx, id, &fields).await;
        updated.map_err(|error| refused(error, &fields))?;
        // Checked after the update, whose error about an existing pair comes first.
        if is_moved && ledger::lock(&mut tx, StockScope::Row(id)).await? {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        let after = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        let actor = by.actor.label();
        if is_moved {
            record_move(&mut tx, &before, &after, actor.as_deref()).await?;
        } else {
            let change = (before.quantity, after.quantity);
            ledger::record(&mut *tx, id, Kind::Adjustment, change, actor.as_deref(), None).await?;
        }
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
        let before = queries::lock(&mut tx, id, stores).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
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
) -> Result<Movement, ApiError> {
    let (by, stores) = (context.audit_context(), &context.caller.grant.stores);
    granted(context.reads(), stores, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewMovement::read(&mut fields);
    let sent = fields.finish_all(read)?;
    let mut tx = context.db().begin().await?;
    let before = queries::lock(&mut tx, id, stores).await?.ok_or(NO_SUCH)?;
    let quantity = sent.apply(before.quantity)?;
    queries::set_quantity(&mut *tx, id, quantity).await?;
    let (change, actor) = ((before.quantity, quantity), by.actor.label());
    let reason = Some(&*sent.reason);
    ledger::record(&mut *tx, id, Kind::Adjustment, change, actor.as_deref(), reason).await?;
    let after = queries::get(&mut *tx, id).await?;
    let states = (Some(&before), after.as_ref());
    context.record(&mut tx, "stock.changed", id, states).await?;
    let movement = movement_queries::latest(&mut *tx, id).await?.ok_or(NO_SUCH)?;
    context.key.commit(tx, &movement).await?;
    Ok(movement)
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
    after: &Inventory,
    actor: Option<&str>,
) -> sqlx::Result<()> {
    let name = |row: &Inventory| format!("product {} in store {}", row.product.id, row.store.id);
    let (to, from) = (
        format!("Moved to {}", name(after)),
        format!("Moved from {}", name(before)),
    );
    let (removed, added) = ((before.quantity, 0), (0, after.quantity));
    ledger::record(&mut *tx, before.id, Kind::Removal, removed, actor, Some(&to)).await?;
    ledger::record(tx, after.id, Kind::Initial, added, actor, Some(&from)).await
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
