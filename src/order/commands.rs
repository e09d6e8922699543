//! The command that places an order.

use std::slice;

use sqlx::PgPool;

use super::{
    group_commit::GroupCommit,
    model::{NewOrder, Order, Outcome, PlacedOrder, Status},
    place::place_at,
    queries,
    request::OrderRequest,
    reservation::{self, Reservation},
};
use crate::{
    auth::Scope,
    db,
    http::{ApiError, CommandContext, ConflictCode, FieldSource, Presence, StateConflict, retry_unfit},
};

/// Places an order, and wakes the relay if it was confirmed.
pub async fn place(
    placement: &GroupCommit,
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<PlacedOrder, ApiError> {
    let order = read(context, source).await?;
    let store_id = order.store_id;
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
        Outcome::NoReservation => Err(reservation::not_found().into()),
        Outcome::ReservationEnded(status, order_id) => Err(reservation::ended(status, order_id).into()),
        Outcome::Duplicate(order_id) => Err(duplicate_reference(order_id)),
        Outcome::TotalTooLarge => Err(ApiError::field(
            "items",
            "Ensure that the order total has no more than 12 digits.",
        )),
    }
}

/// Reads an order that the caller may place.
async fn read(context: &CommandContext, source: &impl FieldSource) -> Result<NewOrder, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let request = OrderRequest::read(&mut fields);
    let mut request = fields.finish_all(request)?;
    if request.has_prices() {
        context.caller.require_identity(Scope::OrdersPrice)?;
    }
    let reservation = look_up(context, &mut request).await?;
    let order = request.into_order(reservation.as_ref())?;
    if !context.caller.grant.stores.contains(order.store_id) {
        return Err(no_store(order.store_id));
    }
    Ok(NewOrder {
        placed_by: context.caller.signed(),
        ..order
    })
}

/// Looks up the SKUs and the reservation of an order before it waits in a lane: a lane takes no part in what only some orders need.
async fn look_up(
    context: &CommandContext,
    request: &mut OrderRequest,
) -> Result<Option<Reservation>, ApiError> {
    let (has_skus, reservation) = (request.has_skus(), request.reservation_id);
    if !has_skus && reservation.is_none() {
        return Ok(None);
    }
    let _permit = context.enter_pool().await?;
    if has_skus {
        request.resolve(context.reads()).await?;
    }
    match reservation {
        Some(id) => retry_unfit(|| reservation::granted(context, id)).await.map(Some),
        None => Ok(None),
    }
}

/// The order that has the reference which a refused order repeats. The refusal stays if the order was detached.
pub(super) async fn existing(
    context: &CommandContext,
    conflict: Box<StateConflict>,
) -> Result<Order, ApiError> {
    let Some(id) = conflict.order_id else {
        return Err(ApiError::StateConflict(conflict));
    };
    let _permit = context.enter_pool().await?;
    let order = retry_unfit(async || Ok(queries::get(context.reads(), id).await?)).await?;
    order.ok_or(ApiError::StateConflict(conflict))
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

/// The error for a reference that another order of the store has.
pub(super) fn duplicate_reference(order_id: i64) -> ApiError {
    let detail = format!("Order {order_id} of this store has this external_reference.");
    ApiError::from(StateConflict {
        order_id: Some(order_id),
        ..StateConflict::new(ConflictCode::DuplicateReference, detail)
    })
}
