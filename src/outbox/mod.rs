//! What is owed to confirmed orders: a row for the orders of each transaction whose confirmations have not been written.
//!
//! The row commits with the orders. It is handed out on lease, and leaves together with the insert of the confirmations.
//! Until then it falls due again and again, so neither a lost queue nor a lost worker loses a confirmation.

mod message;

use std::time::Duration;

use sqlx::PgExecutor;

pub use message::{ConfirmOrders, UnknownVersion};

/// Rows that were handed out together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The rows, in the order in which they were written.
    pub outbox_ids: Vec<i64>,
    /// How many orders they are about.
    pub orders: usize,
}

/// Hands out up to `limit` rows that are due, the oldest first, for as long as `lease`. Nobody else is given them within
/// that time.
///
/// The claim need not survive a crash of PostgreSQL: rows that are due again are confirmed once all the same. So its commit
/// does not wait for the disk.
pub async fn claim(db: impl PgExecutor<'_>, limit: i64, lease: Duration) -> sqlx::Result<Claim> {
    // Rows are named by an array, not joined: a join that was planned while the table was empty would read all of it
    // for each of its rows once it is not.
    let mut rows = sqlx::query!(
        r#"with due as (
             select id from outbox where due_at <= now() order by id limit $1 for update skip locked
         )
         update outbox set due_at = now() + make_interval(secs => $2), attempts = attempts + 1
         where id = any(array(select id from due))
             and (select set_config('synchronous_commit', 'off', true)) = 'off'
         returning id, cardinality(order_ids) as "orders!""#,
        limit,
        lease.as_secs_f64(),
    )
    .fetch_all(db)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(Claim {
        orders: rows
            .iter()
            .filter_map(|row| usize::try_from(row.orders).ok())
            .sum(),
        outbox_ids: rows.into_iter().map(|row| row.id).collect(),
    })
}

/// Gives rows back that were claimed but could not be handed on: they are due at once.
pub async fn release(db: impl PgExecutor<'_>, outbox_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!("update outbox set due_at = now() where id = any($1)", outbox_ids)
        .execute(db)
        .await
        .map(drop)
}

/// Settles what rows owe: writes the confirmations of their orders and removes the rows, in one statement. Returns the
/// orders that had not been confirmed before.
///
/// Rows that are gone owe nothing any more, whatever a message in Redis says.
pub async fn settle(db: impl PgExecutor<'_>, outbox_ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"with settled as (
             delete from outbox where id = any($1) returning order_ids
         )
         insert into order_confirmation (order_id)
         select distinct unnest(order_ids) as order_id from settled order by order_id
         on conflict do nothing
         returning order_id"#,
        outbox_ids,
    )
    .fetch_all(db)
    .await
}

/// The row that this connection wrote last, for who settles at once what it has just placed. Fails if it wrote none.
pub async fn last_written(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select currval('outbox_id_seq') as "id!""#)
        .fetch_one(db)
        .await
}

/// Removes rows whose orders have their confirmations already: leftovers of a restored backup or of another version of the
/// worker. Returns how many there were.
pub async fn clean_up(db: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from outbox where not exists (
             select from unnest(order_ids) as owed (order_id)
             where not exists (select from order_confirmation c where c.order_id = owed.order_id)
         )"
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}
