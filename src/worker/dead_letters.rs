//! Dead letters in PostgreSQL and Redis: list, retry, drop.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{BackendError, Queues};
use crate::{delivery, outbox};
use apalis_redis_queue::{JobInfo, Queue, QueueError, State};

/// Maximum number of listed dead letters of a kind.
pub const LISTED: u16 = 1000;

/// The id of a dead letter: `outbox:12`, `delivery:34`, or queue and job id, such as `periodic:tidy-up-1700000000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterId {
    /// A row of the outbox.
    Outbox(i64),
    /// A delivery.
    Delivery(i64),
    /// A job of a queue in Redis.
    Job {
        /// The queue.
        queue: String,
        /// The id it was pushed under.
        id: String,
    },
}

/// A text that is not an id of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an id such as outbox:12, delivery:34 or periodic:ID, as `afforo jobs dead` shows them")]
pub struct InvalidDeadLetterId;

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbox(id) => write!(f, "outbox:{id}"),
            Self::Delivery(id) => write!(f, "delivery:{id}"),
            Self::Job { queue, id } => write!(f, "{queue}:{id}"),
        }
    }
}

impl FromStr for DeadLetterId {
    type Err = InvalidDeadLetterId;

    fn from_str(text: &str) -> Result<Self, InvalidDeadLetterId> {
        let (kind, id) = text.split_once(':').ok_or(InvalidDeadLetterId)?;
        let number = || id.parse().map_err(|_| InvalidDeadLetterId);
        Ok(match kind {
            "outbox" => Self::Outbox(number()?),
            "delivery" => Self::Delivery(number()?),
            "" => return Err(InvalidDeadLetterId),
            queue => Self::Job {
                queue: queue.to_owned(),
                id: id.to_owned(),
            },
        })
    }
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Id of the dead letter.
    pub id: DeadLetterId,
    /// Its orders; none for a job.
    pub orders: Vec<i64>,
    /// Number of attempts.
    pub attempts: i64,
    /// Error of the last attempt.
    pub error: String,
    /// When it became dead.
    pub since: DateTime<Utc>,
}

/// Dead letters in PostgreSQL: up to [`LISTED`] of each kind, newest first.
pub async fn in_database(db: &PgPool) -> sqlx::Result<Vec<DeadLetter>> {
    let unsaid = || "unknown: its worker crashed".to_owned();
    let rows = outbox::dead(db, LISTED.into()).await?;
    let rows = rows.into_iter().map(|row| DeadLetter {
        id: DeadLetterId::Outbox(row.id),
        orders: row.order_ids,
        attempts: row.attempts.into(),
        error: row.error.unwrap_or_else(unsaid),
        since: row.dead_at,
    });
    let deliveries = delivery::dead(db, LISTED.into()).await?;
    let deliveries = deliveries.into_iter().map(|dead| DeadLetter {
        id: DeadLetterId::Delivery(dead.id),
        orders: vec![dead.order_id],
        attempts: dead.attempts.into(),
        error: format!("{}: {}", dead.channel, dead.error.unwrap_or_else(unsaid)),
        since: dead.dead_at,
    });
    Ok(rows.chain(deliveries).collect())
}

/// Dead letters in Redis: up to [`LISTED`] of each queue, newest first.
pub async fn in_queues(queues: &Queues) -> Result<Vec<DeadLetter>, QueueError> {
    let mut letters = Vec::new();
    for queue in queues.all() {
        let letter = |job: JobInfo| {
            let id = DeadLetterId::Job {
                queue: queue.name().to_owned(),
                id: job.id,
            };
            Some(DeadLetter {
                id,
                orders: Vec::new(),
                attempts: job.attempts.into(),
                error: job.error.unwrap_or_default(),
                since: job.at?,
            })
        };
        letters.extend(
            queue
                .jobs(State::Dead, LISTED.into())
                .await?
                .into_iter()
                .filter_map(letter),
        );
    }
    Ok(letters)
}

/// Retries a dead letter with all attempts; `false` if it does not exist.
pub async fn retry(db: &PgPool, queues: &Queues, letter: &DeadLetterId) -> Result<bool, BackendError> {
    Ok(match letter {
        DeadLetterId::Outbox(id) => outbox::revive(db, Some(*id)).await? > 0,
        DeadLetterId::Delivery(id) => delivery::revive(db, Some(*id)).await? > 0,
        DeadLetterId::Job { queue, id } => match named(queues, queue) {
            Some(queue) => queue.retry(id).await?,
            None => false,
        },
    })
}

/// The outcome of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It was dropped.
    Dropped,
    /// It does not exist.
    Unknown,
    /// It is a row of the outbox. It stays, because its orders are not confirmed.
    Owed,
}

/// Drops a dead letter.
pub async fn discard(db: &PgPool, queues: &Queues, letter: &DeadLetterId) -> Result<Dropped, BackendError> {
    let dropped = match letter {
        DeadLetterId::Outbox(_) => return Ok(Dropped::Owed),
        DeadLetterId::Delivery(id) => delivery::drop_dead(db, *id).await?,
        DeadLetterId::Job { queue, id } => match named(queues, queue) {
            Some(queue) => queue.remove(id).await?,
            None => false,
        },
    };
    Ok(if dropped {
        Dropped::Dropped
    } else {
        Dropped::Unknown
    })
}

fn named(queues: &Queues, name: &str) -> Option<Queue<serde_json::Value>> {
    queues.all().into_iter().find(|queue| queue.name() == name)
}

/// Retries all dead letters in PostgreSQL. Returns their number.
pub async fn retry_database(db: &PgPool) -> sqlx::Result<u64> {
    Ok(outbox::revive(db, None).await? + delivery::revive(db, None).await?)
}

/// Retries all dead jobs. Returns their number. Jobs that become dead again meanwhile are not retried, so that this ends.
pub async fn retry_queues(queues: &Queues) -> Result<u64, QueueError> {
    let mut retried = 0;
    for queue in queues.all() {
        let mut until = DateTime::<Utc>::MAX_UTC;
        loop {
            let dead = queue.dead_by(until, LISTED.into()).await?;
            let before = retried;
            for job in &dead {
                retried += u64::from(queue.retry(&job.id).await?);
            }
            // A short page, or no job could be retried: this was the last page.
            if dead.len() < LISTED.into() || retried == before {
                break;
            }
            until = dead[0].at.unwrap_or(until);
        }
    }
    Ok(retried)
}
