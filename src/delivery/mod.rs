//! Messages about confirmed orders to somebody outside: what is to be delivered, by which channel, and how it went.
//!
//! A row of `delivery` commits with the confirmation that it tells of. It is handed out on lease, and each hand-out is
//! used once: [`begin`] counts the attempt and keeps everybody else from sending for as long as that may take. The pauses
//! between attempts are kept in PostgreSQL, so that losing Redis loses none of it. A message that the receiver has
//! acknowledged is not sent again, unless the worker is killed between the acknowledgement and [`delivered`]; it then
//! carries the same id.

mod backoff;
mod email;
mod message;
mod webhook;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

pub use backoff::Backoff;
pub use email::{Email, EmailConfig, EmailError, Encryption, Letter, one_line};
pub use message::Deliver;
pub use webhook::{Webhook, WebhookError};

/// A way to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// An e-mail, by SMTP.
    Email,
    /// A signed request, as the Standard Webhooks say.
    Webhook,
}

impl Channel {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Email, Self::Webhook];

    /// Its name in the database, and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

/// Why a message did not arrive, said as what to do about it. Its text holds no secrets: it is logged, and kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Undelivered {
    /// What went wrong.
    pub reason: String,
    /// Whether it may go better later.
    pub again: Again,
}

/// Whether and when to send a message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After the pause that is due to the number of attempts.
    Later,
    /// The same, but not before this.
    After(Duration),
    /// The receiver will never have it.
    Never,
}

impl Undelivered {
    fn later(reason: &impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            again: Again::Later,
        }
    }
}

/// Hands out up to `limit` deliveries of a channel that are due, for as long as `lease`. Like the outbox's claim, it need
/// not survive a crash of PostgreSQL.
pub async fn claim(
    db: impl PgExecutor<'_>,
    channel: Channel,
    limit: i64,
    lease: Duration,
) -> sqlx::Result<Vec<Deliver>> {
    let rows = sqlx::query!(
        "with due as (
             select id from delivery where channel = $1 and due_at <= now()
             order by due_at limit $2 for update skip locked
         )
         update delivery set due_at = now() + make_interval(secs => $3)
         where id = any(array(select id from due))
             and (select set_config('synchronous_commit', 'off', true)) = 'off'
         returning id, attempts",
        channel.as_str(),
        limit,
        lease.as_secs_f64(),
    )
    .fetch_all(db)
    .await?;
    let mut jobs: Vec<_> = rows
        .into_iter()
        .map(|row| Deliver::new(row.id, row.attempts))
        .collect();
    jobs.sort_unstable_by_key(Deliver::delivery_id);
    Ok(jobs)
}

/// Gives deliveries back that were claimed but could not be handed on. What was begun all the same, because the queue had
/// taken it without being able to say so, keeps its lease or its pause.
pub async fn release(db: impl PgExecutor<'_>, jobs: &[Deliver]) -> sqlx::Result<()> {
    let ids: Vec<i64> = jobs.iter().map(Deliver::delivery_id).collect();
    let attempts: Vec<i32> = jobs.iter().map(Deliver::attempts).collect();
    sqlx::query!(
        "update delivery set due_at = now() from unnest($1::bigint[], $2::integer[]) as handed_out (id, attempts)
         where delivery.id = handed_out.id and delivery.attempts = handed_out.attempts and due_at is not null",
        &ids,
        &attempts,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A delivery that may be sent now.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The order that it tells of.
    pub order_id: i64,
    /// The message's id, the same with every attempt.
    pub message_id: String,
    /// When the order was confirmed.
    pub created_at: DateTime<Utc>,
    /// When this attempt began.
    pub now: DateTime<Utc>,
    /// Number of this attempt, from 1.
    pub attempt: i32,
}

/// Begins an attempt. `None` if the hand-out was used before, or it is over: by then nothing is to be sent.
///
/// Nobody else may send it for as long as `lease`.
pub async fn begin(
    db: impl PgExecutor<'_>,
    job: &Deliver,
    channel: Channel,
    lease: Duration,
) -> sqlx::Result<Option<Begun>> {
    sqlx::query_as!(
        Begun,
        r#"update delivery set attempts = attempts + 1, due_at = now() + make_interval(secs => $4)
           where id = $1 and attempts = $2 and channel = $3 and due_at is not null
           returning order_id, 'msg_' || replace(message_id::text, '-', '') as "message_id!", created_at,
               now() as "now!", attempts as attempt"#,
        job.delivery_id(),
        job.attempts(),
        channel.as_str(),
        lease.as_secs_f64(),
    )
    .fetch_optional(db)
    .await
}

/// Notes that the receiver has acknowledged a message.
pub async fn delivered(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "update delivery set delivered_at = now(), due_at = null, dead_at = null, error = null
         where id = $1 and delivered_at is null",
        id
    )
    .execute(db)
    .await
    .map(drop)
}

/// Notes that attempt number `attempt` failed: the next one is due after `pause`, or without one it was the last.
pub async fn failed(
    db: impl PgExecutor<'_>,
    id: i64,
    attempt: i32,
    error: &str,
    pause: Option<Duration>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update delivery set error = $3, due_at = now() + make_interval(secs => $4),
             dead_at = case when $4::float8 is null then now() end
         where id = $1 and attempts = $2 and due_at is not null",
        id,
        attempt,
        error,
        pause.map(|pause| pause.as_secs_f64()),
    )
    .execute(db)
    .await
    .map(drop)
}

/// How many deliveries of a channel stand how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The channel.
    pub channel: String,
    /// Not delivered yet.
    pub waiting: i64,
    /// Given up.
    pub dead: i64,
}

/// Counts what waits and what is dead, by channel and up to `most`; channels without any are left out. It reads no row that
/// arrived.
pub async fn depth(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<Vec<Depth>> {
    let channels = Channel::ALL.map(Channel::as_str);
    sqlx::query_as!(
        Depth,
        r#"select asked.channel as "channel!", waiting as "waiting!", dead as "dead!"
           from unnest($1::text[]) as asked (channel),
               lateral (select count(*) as waiting from (
                   select from delivery d where d.channel = asked.channel and due_at is not null limit $2
               ) counted) as due,
               lateral (select count(*) as dead from (
                   select from delivery d where d.channel = asked.channel and dead_at is not null limit $2
               ) counted) as given_up
           where waiting > 0 or dead > 0 order by asked.channel"#,
        &channels as &[&str],
        most,
    )
    .fetch_all(db)
    .await
}

/// A delivery that was given up.
#[derive(Clone, Debug)]
pub struct Dead {
    /// Which it is.
    pub id: i64,
    /// The order that it tells of.
    pub order_id: i64,
    /// By which channel.
    pub channel: String,
    /// How often it was sent.
    pub attempts: i32,
    /// What went wrong last.
    pub error: Option<String>,
    /// Since when it is dead.
    pub dead_at: DateTime<Utc>,
}

/// Deliveries that were given up, the latest first.
pub async fn dead(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<Dead>> {
    sqlx::query_as!(
        Dead,
        r#"select id, order_id, channel, attempts, error, dead_at as "dead_at!" from delivery
           where dead_at is not null order by id desc limit $1"#,
        limit
    )
    .fetch_all(db)
    .await
}

/// Makes deliveries that were given up due at once, with all their attempts; without an id, all of them. Returns how many
/// there were.
pub async fn revive(db: impl PgExecutor<'_>, id: Option<i64>) -> sqlx::Result<u64> {
    sqlx::query!(
        "update delivery set due_at = now(), attempts = 0, dead_at = null
         where dead_at is not null and ($1::bigint is null or id = $1)",
        id
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Forgets a delivery that was given up; `false` if there is none of that id.
pub async fn drop_dead(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query!("delete from delivery where id = $1 and dead_at is not null", id)
        .execute(db)
        .await
        .map(|done| done.rows_affected() > 0)
}

/// Deletes up to `limit` deliveries that arrived longer ago than `age`. Returns how many.
pub async fn purge(db: impl PgExecutor<'_>, age: Duration, limit: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from delivery where id = any(array(
             select id from delivery where delivered_at < now() - make_interval(secs => $1)
             order by delivered_at limit $2
         ))",
        age.as_secs_f64(),
        limit
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}
