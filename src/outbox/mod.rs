//! What is owed to confirmed orders: a row for every order whose confirmation has not been written yet.
//!
//! The row commits with the order. It is handed out on lease, and leaves together with the insert of the confirmation.
//! Until then it falls due again and again, so neither a lost queue nor a lost worker loses a confirmation.

mod message;

use std::time::Duration;

use sqlx::PgExecutor;

pub use message::{ConfirmOrders, UnknownVersion};

/// Hands out up to `limit` orders whose confirmation is due, the oldest first, for as long as `lease`. Nobody else is
/// given them within that time.
///
/// The claim need not survive a crash of PostgreSQL: rows that are due again are confirmed once all the same. So its commit
/// does not wait for the disk.
pub async fn claim(db: impl PgExecutor<'_>, limit: i64, lease: Duration) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "with due as (
             select order_id from outbox where due_at <= now()
             order by order_id limit $1 for update skip locked
         ), unhurried as materialized (
             select set_config('synchronous_commit', 'off', true)
         )
         update outbox set due_at = now() + make_interval(secs => $2), attempts = attempts + 1
         from due, unhurried where outbox.order_id = due.order_id
         returning outbox.order_id",
        limit,
        lease.as_secs_f64(),
    )
    .fetch_all(db)
    .await
    .map(|mut orders| {
        orders.sort_unstable();
        orders
    })
}

/// Gives orders back that were claimed but could not be handed on: they are due at once.
pub async fn release(db: impl PgExecutor<'_>, orders: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set due_at = now() where order_id = any($1)",
        orders
    )
    .execute(db)
    .await
    .map(drop)
}

/// Settles what is owed to `orders`: writes their confirmations and removes their rows, in one statement. Returns those
/// that had not been confirmed before.
///
/// An order that is owed nothing gets no confirmation. A message in Redis may be older than the database, in which ids
/// start over when it is cleared: the next order of that id would never be confirmed.
pub async fn settle(db: impl PgExecutor<'_>, orders: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "with owed as materialized (
             select order_id from outbox where order_id = any($1) order by order_id for update
         ), settled as (
             delete from outbox using owed where outbox.order_id = owed.order_id returning owed.order_id
         )
         insert into order_confirmation (order_id) select order_id from settled order by order_id
         on conflict do nothing
         returning order_id",
        orders,
    )
    .fetch_all(db)
    .await
}

/// Removes rows whose order has its confirmation already: leftovers of a restored backup or of another version of the
/// worker. Returns how many there were.
pub async fn clean_up(db: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    sqlx::query!("delete from outbox using order_confirmation c where outbox.order_id = c.order_id")
        .execute(db)
        .await
        .map(|done| done.rows_affected())
}
