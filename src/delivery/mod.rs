//! Deliveries: messages about confirmed orders by e-mail and webhook.
//!
//! A row of `delivery` commits with its confirmation. A relay claims it on lease, and [`begin`] uses a claim once: it counts
//! the attempt, and blocks other workers while the message is sent. PostgreSQL stores the pauses between attempts, so losing
//! Redis loses none. An acknowledged message is not sent again, unless the worker is killed before [`delivered`]. Then it is
//! sent under the same id.

mod backoff;
mod email;
mod job;
mod webhook;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

pub use backoff::Backoff;
pub use email::{Email, EmailConfig, EmailError, EmailMessage, Encryption, one_line};
pub use job::Deliver;
pub use webhook::{Webhook, WebhookError};

/// A channel of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// An e-mail, by SMTP.
    Email,
    /// A signed request as Standard Webhooks define it.
    Webhook,
}

impl Channel {
    /// All channels.
    pub const ALL: [Self; 2] = [Self::Email, Self::Webhook];

    /// The name in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

/// Why a message was not delivered, and whether to retry. The text is logged and stored, so it contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DeliveryError {
    /// The reason.
    pub reason: String,
    /// Whether it may go better later.
    pub retry: RetryPolicy,
}

/// Whether and when to send a message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// After the backoff pause.
    Later,
    /// After the backoff pause, and not before this.
    After(Duration),
    /// The receiver will never accept it.
    Never,
}

impl DeliveryError {
    fn later(reason: &impl ToString) -> Self {
        let reason = reason.to_string();
        let retry = RetryPolicy::Later;
        Self { reason, retry }
    }

    /// A message that the receiver will never accept.
    pub fn never(reason: &impl ToString) -> Self {
        let reason = reason.to_string();
        let retry = RetryPolicy::Never;
        Self { reason, retry }
    }
}

/// Claims up to `limit` due deliveries of a channel for the time of `lease`. Like a claim of the outbox, it may be lost in a
/// crash of PostgreSQL.
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
        .map(|row| Deliver {
            delivery_id: row.id,
            attempts: row.attempts,
        })
        .collect();
    jobs.sort_unstable_by_key(|job| job.delivery_id);
    Ok(jobs)
}

/// Releases claimed deliveries that could not be queued. A delivery that was begun keeps its lease or pause: the queue took
/// its job, but the answer was lost.
pub async fn release(db: impl PgExecutor<'_>, jobs: &[Deliver]) -> sqlx::Result<()> {
    let ids: Vec<i64> = jobs.iter().map(|job| job.delivery_id).collect();
    let attempts: Vec<i32> = jobs.iter().map(|job| job.attempts).collect();
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

/// An attempt that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The order of the message.
    pub order_id: i64,
    /// The id of the message, the same for every attempt.
    pub message_id: String,
    /// When the order was confirmed.
    pub created_at: DateTime<Utc>,
    /// When this attempt began.
    pub now: DateTime<Utc>,
    /// Number of this attempt, from 1.
    pub attempt: i32,
}

/// Begins an attempt for the time of `lease`. `None` if the claim was used before or has ended: then nothing is sent.
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
        job.delivery_id,
        job.attempts,
        channel.as_str(),
        lease.as_secs_f64(),
    )
    .fetch_optional(db)
    .await
}

/// Records that the receiver acknowledged a message.
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

/// Records that attempt number `attempt` failed. The next is due after `pause`; without a pause the delivery is dead.
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

/// The number of open and dead deliveries of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The channel.
    pub channel: String,
    /// Not delivered yet.
    pub waiting: i64,
    /// Dead.
    pub dead: i64,
}

/// Counts open and dead deliveries by channel, up to `most` each. Channels without any are left out. Reads no delivered rows.
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

/// A dead delivery.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The id of the delivery.
    pub id: i64,
    /// The order of the message.
    pub order_id: i64,
    /// The channel.
    pub channel: String,
    /// Number of attempts.
    pub attempts: i32,
    /// The error of the last attempt.
    pub error: Option<String>,
    /// When it became dead.
    pub dead_at: DateTime<Utc>,
}

/// Dead deliveries, newest first.
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

/// Makes a dead delivery, or all without an id, due at once with all attempts. Returns their number.
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

/// Deletes a dead delivery; `false` if there is none with this id.
pub async fn drop_dead(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query!("delete from delivery where id = $1 and dead_at is not null", id)
        .execute(db)
        .await
        .map(|done| done.rows_affected() > 0)
}

/// Deletes up to `limit` messages delivered longer ago than `age`. Returns their number.
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
