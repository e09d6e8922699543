//! The command that places an order.

use std::slice;

use sqlx::PgPool;

use super::{
    group_commit::GroupCommit,
    model::{NewOrder, Outcome, PlacedOrder, Status},
    place::place_at,
};
use crate::{
    db,
    http::{ApiError, CommandContext, FieldSource, Presence},
};

/// Places an order, and wakes the relay if it was confirmed.
pub async fn place(
    placement: &GroupCommit,
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<PlacedOrder, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let order = NewOrder::read(&mut fields);
    let mut order = fields.finish_all(order)?;
    let store_id = order.store_id;
    if !context.caller.grant.stores.contains(store_id) {
        return Err(no_store(store_id));
    }
    order.placed_by = context.caller.signed();
    let outcome = if context.dry_run.0 {
        dry_run(context.db(), order).await?
    } else {
        placement.place(order, context.key.0.clone()).await?
    };
    match outcome {
        Outcome::Placed(placed) => {
            tracing::Span::current().record("order_id", placed.id);
            if placed.status == Status::Confirmed && !context.dry_run.0 {
                context.app.order_confirmed.notify_one();
            }
            Ok(placed)
        }
        Outcome::Repeated => Err(ApiError::IdempotencyConflict),
        Outcome::NoStore => Err(no_store(store_id)),
        Outcome::TotalTooLarge => Err(ApiError::field(
            "items",
            "Ensure that the order total has no more than 12 digits.",
        )),
    }
}

/// Decides an order in a transaction of its own, and rolls back. A batch of real orders does not wait for it.
async fn dry_run(db: &PgPool, order: NewOrder) -> sqlx::Result<Outcome> {
    db::retry(|| async {
        let mut tx = db.begin().await?;
        let placed = place_at(&mut tx, slice::from_ref(&order), None).await?;
        tx.rollback().await?;
        Ok(placed.outcomes.into_iter().next().unwrap_or(Outcome::NoStore))
    })
    .await
}

/// The error for a store that does not exist, is inactive, or is not granted.
fn no_store(id: i64) -> ApiError {
    ApiError::ErrorDetail {
        error: "Validation Error",
        detail: Some(format!("Store {id} not found or inactive")),
    }
}
