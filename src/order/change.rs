//! Changes of orders after they were placed: what clients keep with them, never their lines. The audit log has the names of the
//! changed members only.

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::{PgConnection, types::Json};

use super::{
    commands::duplicate_reference,
    data::{DataChanges, OrderData},
    model::{Order, Status},
    queries, references,
};
use crate::{
    auth::Scope,
    db,
    http::{ApiError, CommandContext, ConflictCode, FieldSource, Precondition, Presence, StateConflict},
};

const NO_SUCH: ApiError = ApiError::NotFound("Order");

/// The audit entry of a change: no values.
#[derive(Serialize)]
struct AuditEntry {
    changed: Vec<&'static str>,
}

/// Changes what the client keeps with an order, if the precondition holds.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
) -> Result<Order, ApiError> {
    let current = queries::get(context.reads(), id).await?;
    expected.require(&granted(context, current)?)?;
    let mut fields = source.fields(Presence::Partial)?;
    let changes = DataChanges::read(&mut fields);
    let changes = fields.finish(changes)?;
    db::retry(|| attempt(context, id, expected, &changes)).await
}

async fn attempt(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    changes: &DataChanges,
) -> Result<Order, ApiError> {
    let mut tx = context.db().begin().await?;
    let before = lock(context, &mut tx, id).await?;
    expected.require(&before)?;
    let mut data = before.data();
    let names = changes.apply(&mut data)?;
    if let Some(reference) = &before.external_reference
        && data.external_reference.as_ref() != Some(reference)
    {
        return Err(reference_is_set(id));
    }
    claim(&mut tx, &before, &data).await?;
    write(&mut tx, id, &data).await?;
    let after = read(&mut tx, id).await?;
    let entry = AuditEntry { changed: names };
    // Two equal states are not logged.
    let before = entry.changed.is_empty().then_some(&entry);
    context
        .commit(tx, "order.changed", id, (before, Some(&entry)))
        .await?;
    Ok(after)
}

/// Claims the reference that an order gets. A rejected order has none of its own, so that it can be sent again.
async fn claim(tx: &mut PgConnection, before: &Order, data: &OrderData) -> Result<(), ApiError> {
    let Some(reference) = &data.external_reference else {
        return Ok(());
    };
    if before.external_reference.is_some() || before.status == Status::Rejected {
        return Ok(());
    }
    match references::claim_one(tx, before.store.id, reference, before.id).await? {
        Some(other) => Err(duplicate_reference(other)),
        None => Ok(()),
    }
}

/// Erases customer and note, and the stored responses that have them.
pub async fn redact(context: &CommandContext, id: i64) -> Result<Order, ApiError> {
    context.caller.require_identity(Scope::Admin)?;
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let before = lock(context, &mut tx, id).await?;
        let data = OrderData {
            customer: None,
            note: None,
            ..before.data()
        };
        write(&mut tx, id, &data).await?;
        forget_responses(&mut tx, id).await?;
        let after = read(&mut tx, id).await?;
        let states = (None::<&AuditEntry>, None);
        context.record(&mut tx, "order.redacted", id, states).await?;
        context.commit_answer(tx, StatusCode::OK, &after).await?;
        Ok(after)
    })
    .await
}

fn granted(context: &CommandContext, order: Option<Order>) -> Result<Order, ApiError> {
    order
        .filter(|order| context.caller.grant.stores.contains(order.store.id))
        .ok_or(NO_SUCH)
}

/// Locks an order of a granted store, and reads it in a second statement.
async fn lock(context: &CommandContext, tx: &mut PgConnection, id: i64) -> Result<Order, ApiError> {
    sqlx::query!("select id from orders where id = $1 for update", id)
        .fetch_optional(&mut *tx)
        .await?;
    granted(context, queries::get_within(tx, id).await?)
}

async fn read(tx: &mut PgConnection, id: i64) -> Result<Order, ApiError> {
    queries::get_within(tx, id).await?.ok_or(NO_SUCH)
}

async fn write(tx: &mut PgConnection, id: i64, data: &OrderData) -> sqlx::Result<()> {
    sqlx::query!(
        "update orders set external_reference = $2, customer = $3, note = $4, metadata = $5, version = coalesce(version, 1) + 1,
             updated_at = greatest(statement_timestamp(), updated_at)
         where id = $1",
        id,
        data.external_reference,
        data.customer.as_ref().map(Json) as _,
        data.note,
        data.metadata.as_ref().map(Json) as _,
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Deletes the responses to the request that placed an order. They have its time, because they were stored in the same
/// transaction, and begin with its id.
async fn forget_responses(tx: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        r#"delete from idempotency_key k using orders o
           where o.id = $1 and k.created_at = o.created_at and starts_with(k.body, format('{"id":%s,', o.id))"#,
        id
    )
    .execute(tx)
    .await
    .map(drop)
}

fn reference_is_set(id: i64) -> ApiError {
    let detail = "The external_reference is set, and cannot change.";
    ApiError::from(StateConflict {
        order_id: Some(id),
        ..StateConflict::new(ConflictCode::InvalidTransition, detail)
    })
}
