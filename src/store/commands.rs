//! The commands that change stores.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::{
    model::{Store, StoreFields, StoreFulfillment},
    queries,
};
use crate::{
    auth::Stores,
    db::{self, violated_constraint},
    http::{ApiError, CommandContext, FieldSource, Precondition, Presence, StateConflict},
    ledger::{self, StockScope},
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Store");
const ORDERED: &str = "Cannot delete this store: it has orders.";
const TRANSFERRED: &str = "Cannot delete this store: transfers refer to it.";

/// Creates a store.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Store, ApiError> {
    context.caller.require_all_stores()?;
    let fields = read(source, Presence::Complete)?;
    let mut tx = context.db().begin().await?;
    require_upgraded(&mut tx, &fields).await?;
    let store = queries::insert(&mut *tx, &fields).await?;
    context
        .commit_created(tx, "store.created", store.id, &store)
        .await?;
    Ok(store)
}

/// Writes the given fields, if the precondition holds.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Store, ApiError> {
    require_granted(&context.caller.grant.stores, id)?;
    let current = queries::get(context.reads(), id).await?.ok_or(NO_SUCH)?;
    expected.require(&current)?;
    let fields = read(source, presence)?;
    let mut tx = context.db().begin().await?;
    let before = queries::lock(&mut tx, id).await?.ok_or(NO_SUCH)?;
    expected.require(&before)?;
    require_upgraded(&mut tx, &fields).await?;
    let after = queries::update(&mut *tx, id, &fields).await?;
    let states = (Some(&before), Some(&after));
    context.commit(tx, "store.changed", id, states).await?;
    Ok(after)
}

/// Deletes a store with its stock, unless it has orders. A rejected order counts, although it touched no stock.
pub async fn delete(context: &CommandContext, id: i64, expected: &impl Precondition) -> Result<(), ApiError> {
    require_granted(&context.caller.grant.stores, id)?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        ledger::lock(&mut tx, StockScope::Store(id)).await?;
        let before = queries::lock_for_deletion(&mut tx, id).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        ledger::lock(&mut tx, StockScope::Store(id)).await?;
        if queries::has_orders(&mut *tx, id).await? {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        ledger::remove(&mut tx, StockScope::Store(id), by.actor.label().as_deref()).await?;
        let deleted = queries::delete(&mut *tx, id).await;
        deleted.map_err(transferred)?;
        context
            .commit(tx, "store.deleted", id, (Some(&before), None))
            .await
    })
    .await
}

/// A store that is not granted does not exist for the caller.
pub(super) fn require_granted(stores: &Stores, id: i64) -> Result<(), ApiError> {
    if stores.contains(id) { Ok(()) } else { Err(NO_SUCH) }
}

/// Servers of an earlier release would not track the orders that they place.
async fn require_upgraded(tx: &mut PgConnection, fields: &StoreFields) -> Result<(), ApiError> {
    if fields.fulfillment == Some(StoreFulfillment::Tracked) && !db::is_upgraded(&mut *tx).await? {
        return Err(StateConflict::upgrade_in_progress().into());
    }
    Ok(())
}

fn read(source: &impl FieldSource, presence: Presence) -> Result<StoreFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = StoreFields::read(&mut fields);
    fields.finish(read)
}

/// Transfers keep what they refer to.
fn transferred(error: sqlx::Error) -> ApiError {
    match violated_constraint(&error) {
        Some("transfer_from_store_id_fkey" | "transfer_to_store_id_fkey") => {
            ApiError::detail(StatusCode::CONFLICT, TRANSFERRED)
        }
        _ => error.into(),
    }
}
