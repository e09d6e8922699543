//! What changes stores.

use axum::http::StatusCode;

use super::{
    model::{Store, StoreFields},
    queries,
};
use crate::{
    audit,
    auth::Stores,
    db,
    http::{ApiError, CommandContext, FieldSource, Precondition, Presence},
    ledger::{self, Scope},
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Store");
const ORDERED: &str = "Cannot delete this store: it has orders.";

/// Creates a store.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Store, ApiError> {
    context.caller.require_all_stores()?;
    let fields = read(source, Presence::Complete)?;
    let mut tx = context.db().begin().await?;
    let store = queries::insert(&mut *tx, &fields).await?;
    let (by, subject) = (context.audit_context(), subject(store.id));
    audit::record(&mut *tx, &by, "store.created", subject, (None, Some(&store))).await?;
    context.key.commit(tx, &store).await?;
    Ok(store)
}

/// Writes the fields that are given, if the store is what is expected.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Store, ApiError> {
    require_granted(&context.caller.grant.stores, id)?;
    let current = queries::get(context.db(), id).await?.ok_or(NO_SUCH)?;
    expected.require(&current)?;
    let fields = read(source, presence)?;
    let mut tx = context.db().begin().await?;
    let before = queries::lock(&mut tx, id).await?.ok_or(NO_SUCH)?;
    expected.require(&before)?;
    let after = queries::update(&mut *tx, id, &fields).await?;
    let (by, states) = (context.audit_context(), (Some(&before), Some(&after)));
    audit::record(&mut *tx, &by, "store.changed", subject(id), states).await?;
    db::commit(tx).await?;
    Ok(after)
}

/// Deletes a store with its stock, unless it has orders. A rejected order counts, although it touched no stock.
pub async fn delete(context: &CommandContext, id: i64, expected: &impl Precondition) -> Result<(), ApiError> {
    require_granted(&context.caller.grant.stores, id)?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        ledger::lock(&mut tx, Scope::Store(id)).await?;
        let before = queries::lock_for_deletion(&mut tx, id).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        ledger::lock(&mut tx, Scope::Store(id)).await?;
        if queries::has_orders(&mut *tx, id).await? {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        ledger::remove(&mut tx, Scope::Store(id), by.actor.label().as_deref()).await?;
        queries::delete(&mut *tx, id).await?;
        audit::record(&mut *tx, &by, "store.deleted", subject(id), (Some(&before), None)).await?;
        Ok(db::commit(tx).await?)
    })
    .await
}

/// A store that is not granted does not exist for the caller.
pub(super) fn require_granted(stores: &Stores, id: i64) -> Result<(), ApiError> {
    if stores.contains(id) { Ok(()) } else { Err(NO_SUCH) }
}

fn read(source: &impl FieldSource, presence: Presence) -> Result<StoreFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = StoreFields::read(&mut fields);
    fields.finish(read)
}

fn subject(id: i64) -> String {
    format!("store:{id}")
}
