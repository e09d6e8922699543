//! What is owed to confirmed orders: a row for the orders of each transaction whose confirmations have not been written.
//!
//! The row commits with the orders. It is handed out on lease, and leaves together with the insert of the confirmations.
//! Until then it falls due again, so neither a lost queue nor a lost worker loses a confirmation. A row that was handed out
//! [`HANDOUTS`] times in vain is a dead letter: it stays, for somebody to look at.

mod message;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

pub use message::{ConfirmOrders, UnknownVersion};

/// How often a row is handed out before it is dead: once, and ten times more.
pub const HANDOUTS: i32 = 11;

/// What a claim found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The rows that are handed out, in the order in which they were written.
    pub rows: Vec<Row>,
    /// Orders of rows that had been handed out as often as they may be. They are dead from now on.
    pub given_up: Vec<i64>,
}

/// A row that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which row it is.
    pub id: i64,
    /// How many orders it is about.
    pub orders: usize,
    /// How often it was handed out, this time included.
    pub handouts: i32,
}

/// Which rows a claim takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Only such as were never handed out.
    New,
    /// Also such as were, and whose lease ran out.
    All,
}

/// Hands out up to `limit` rows that are due, the oldest first, for as long as `lease`. Nobody else is given them within
/// that time.
///
/// The claim need not survive a crash of PostgreSQL: rows that are due again are confirmed once all the same. So its commit
/// does not wait for the disk.
pub async fn claim(
    db: impl PgExecutor<'_>,
    which: Which,
    limit: i64,
    lease: Duration,
) -> sqlx::Result<Claim> {
    // Rows are named by an array, not joined: a join that was planned while the table was empty would read all of it
    // for each of its rows once it is not.
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
        HANDOUTS,
    )
    .fetch_all(db)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    let mut claim = Claim::default();
    for row in rows {
        match row.given_up {
            Some(orders) => claim.given_up.extend(orders),
            None => claim.rows.push(Row {
                id: row.id,
                orders: usize::try_from(row.orders).unwrap_or_default(),
                handouts: row.handouts,
            }),
        }
    }
    Ok(claim)
}

/// Gives rows back that were claimed but could not be handed on: they are due at once, and the hand-out does not count.
pub async fn release(db: impl PgExecutor<'_>, rows: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set due_at = now(), handouts = greatest(handouts - 1, 0) where id = any($1) and dead_at is null",
        rows
    )
    .execute(db)
    .await
    .map(drop)
}

/// Settles what rows owe: writes the confirmations of their orders, and for each of those a delivery by each of `channels`,
/// and removes the rows, all in one statement. Returns the orders that had not been confirmed before.
///
/// Rows that are gone owe nothing any more, whatever a message in Redis says.
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

/// Notes why a row could not be settled. Returns the orders that it is about.
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

/// Notes why rows could not be settled, where they are not to blame: the hand-out does not count. They are due when their
/// lease has run out.
pub async fn excuse(db: impl PgExecutor<'_>, rows: &[i64], error: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox set error = $2, handouts = greatest(handouts - 1, 0) where id = any($1) and dead_at is null",
        rows,
        error
    )
    .execute(db)
    .await
    .map(drop)
}

/// How much is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Depth {
    /// Rows, but for the dead ones.
    pub rows: i64,
    /// Age of the first of them in seconds; 0 without one.
    pub oldest_seconds: f64,
    /// Rows that were given up.
    pub dead: i64,
}

/// Measures how much is owed; rows are counted up to `most`, so that the measuring costs no more the longer the backlog is.
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

/// A row that was given up.
#[derive(Clone, Debug)]
pub struct DeadRow {
    /// Which row it is.
    pub id: i64,
    /// The orders that it owes their confirmations.
    pub order_ids: Vec<i64>,
    /// How often it was handed out.
    pub handouts: i32,
    /// What went wrong last, as far as a worker lived to tell.
    pub error: Option<String>,
    /// Since when it is dead.
    pub dead_at: DateTime<Utc>,
}

/// Rows that were given up, the latest first.
pub async fn dead(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<DeadRow>> {
    sqlx::query_as!(
        DeadRow,
        r#"select id, order_ids, handouts, error, dead_at as "dead_at!" from outbox
           where dead_at is not null order by dead_at desc, id desc limit $1"#,
        limit
    )
    .fetch_all(db)
    .await
}

/// Makes rows that were given up due at once, with all their hand-outs; without an id, all of them. Returns how many there
/// were.
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
