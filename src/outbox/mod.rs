//! The outbox: a row for the orders of each transaction whose confirmations have not been written.
//!
//! The row commits with the orders. A relay claims it on lease, and the insert of the confirmations deletes it. Until then
//! it becomes due again, so neither a lost queue nor a lost worker loses a confirmation. After [`MAX_ATTEMPTS`] attempts the
//! row is a dead letter, and stays until an operator retries it.
//!
//! Two names in the SQL are older than these terms: the column `handouts` counts attempts, and the result column `given_up` has
//! the orders of a row that became dead.

mod job;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;

pub use job::{ConfirmOrders, UnknownVersion};

/// Attempts after which a row is dead: the first and ten retries.
pub const MAX_ATTEMPTS: i32 = 11;

/// The result of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The claimed rows, oldest first.
    pub rows: Vec<Row>,
    /// Orders of rows that have no attempts left and are dead now.
    pub dead: Vec<i64>,
}

/// A claimed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The id of the row.
    pub id: i64,
    /// The number of its orders.
    pub orders: usize,
    /// Number of attempts, including this one.
    pub attempts: i32,
}

/// Which rows a claim takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Rows without an attempt.
    New,
    /// Also rows whose lease expired.
    All,
}

/// Claims up to `limit` due rows for the time of `lease`, oldest first.
///
/// The commit does not wait for the disk. A crash of PostgreSQL may lose the claim: then rows are due again, and confirmed
/// once all the same.
pub async fn claim(
    db: impl PgExecutor<'_>,
    which: Which,
    limit: i64,
    lease: Duration,
) -> sqlx::Result<Claim> {
    // An array instead of a join: a join planned while the table is empty reads the whole table for each row later.
    let mut rows = sqlx::query!(
        r#"with due as (
             select id from outbox where due_at <= now() and dead_at is null and (handouts = 0 or $3)
             order by id limit $1 for update skip locked
         )
         update outbox set due_at = now() + make_interval(secs => $2),
             handouts = least(handouts + 1, $4),
             dead_at = case when handouts >= $4 then now() end
         where id = any(array(select id from due))
             and (select set_config('synchronous_commit', 'off', true)) = 'off'
         returning id, handouts, cardinality(order_ids) as "orders!",
             case when dead_at is not null then order_ids end as given_up"#,
        limit,
        lease.as_secs_f64(),
        which == Which::All,
        MAX_ATTEMPTS,
    )
    .fetch_all(db)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    let mut claim = Claim::default();
    for row in rows {
        match row.given_up {
            Some(orders) => claim.dead.extend(orders),
            None => claim.rows.push(Row {
                id: row.id,
                orders: usize::try_from(row.orders).unwrap_or_default(),
                attempts: row.handouts,
            }),
        }
    }
    Ok(claim)
}

/// Releases claimed rows that could not be queued. They are due at once, and the attempt does not count.
pub async fn release(db: impl PgExecutor<'_>, rows: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set due_at = now(), handouts = greatest(handouts - 1, 0) where id = any($1) and dead_at is null",
        rows
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes the confirmations of the rows' orders and their deliveries by `channels`, and deletes the rows, in one
/// statement. Returns the orders that were not confirmed before. Rows that do not exist any more are ignored.
pub async fn settle(
    db: impl PgExecutor<'_>,
    outbox_ids: &[i64],
    channels: &[&'static str],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"with settled as (
             delete from outbox where id = any($1) returning order_ids
         ), confirmed as (
             insert into order_confirmation (order_id)
             select distinct unnest(order_ids) as order_id from settled order by order_id
             on conflict do nothing
             returning order_id
         ), told as (
             insert into delivery (order_id, channel)
             select order_id, channel from confirmed cross join unnest($2::text[]) as channel
             on conflict do nothing
         )
         select order_id from confirmed order by order_id"#,
        outbox_ids,
        channels as &[&str],
    )
    .fetch_all(db)
    .await
}

/// Records why a row could not be settled. Returns its orders.
pub async fn note_failure(db: impl PgExecutor<'_>, row: i64, error: &str) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "update outbox set error = $2 where id = $1 returning order_ids",
        row,
        error
    )
    .fetch_optional(db)
    .await
    .map(Option::unwrap_or_default)
}

/// Records a failure that the rows did not cause, without counting the attempt. They are due when their lease expires.
pub async fn uncount(db: impl PgExecutor<'_>, rows: &[i64], error: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set error = $2, handouts = greatest(handouts - 1, 0) where id = any($1) and dead_at is null",
        rows,
        error
    )
    .execute(db)
    .await
    .map(drop)
}

/// The size of the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Depth {
    /// Rows, without dead ones.
    pub rows: i64,
    /// Age of the oldest row in seconds; 0 without one.
    pub oldest_seconds: f64,
    /// Dead rows.
    pub dead: i64,
}

/// Measures the outbox. Counting stops at `most` rows, so that a long backlog is not slower to measure.
pub async fn depth(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<Depth> {
    sqlx::query_as!(
        Depth,
        r#"select
               (select count(*) from (select from outbox where dead_at is null limit $1) counted) as "rows!",
               coalesce(
                   (select extract(epoch from now() - created_at) from outbox where dead_at is null order by id limit 1),
                   0
               )::float8 as "oldest_seconds!",
               (select count(*) from (select from outbox where dead_at is not null limit $1) counted) as "dead!""#,
        most
    )
    .fetch_one(db)
    .await
}

/// A dead row.
#[derive(Clone, Debug)]
pub struct DeadRow {
    /// The id of the row.
    pub id: i64,
    /// Its orders, which have no confirmation.
    pub order_ids: Vec<i64>,
    /// Number of attempts.
    pub attempts: i32,
    /// The error of the last attempt, unless its worker crashed.
    pub error: Option<String>,
    /// When it became dead.
    pub dead_at: DateTime<Utc>,
}

/// Dead rows, newest first.
pub async fn dead(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<DeadRow>> {
    sqlx::query_as!(
        DeadRow,
        r#"select id, order_ids, handouts as attempts, error, dead_at as "dead_at!" from outbox
           where dead_at is not null order by dead_at desc, id desc limit $1"#,
        limit
    )
    .fetch_all(db)
    .await
}

/// Makes a dead row, or all without an id, due at once with all attempts. Returns their number.
pub async fn revive(db: impl PgExecutor<'_>, id: Option<i64>) -> sqlx::Result<u64> {
    sqlx::query!(
        "update outbox set due_at = now(), handouts = 0, dead_at = null
         where dead_at is not null and ($1::bigint is null or id = $1)",
        id
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// The row that this connection wrote last. Fails if it wrote none.
pub async fn last_written(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select currval('outbox_id_seq') as "id!""#)
        .fetch_one(db)
        .await
}

/// Deletes rows whose orders are confirmed already, such as after restoring a backup. Returns their number.
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
