//! What was given up, wherever it is kept, and how it is tried again.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Queues;
use crate::{delivery, outbox};
use apalis_redis_queue::{DeadJob, Queue, QueueError};

/// Most letters of a kind that are listed.
pub const LISTED: u16 = 1000;

/// Names a dead letter: `outbox:12`, `delivery:34`, or a queue and the id of its job, such as `periodic:tidy-up-1700000000`.
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

/// A text that names no dead letter.
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

/// Something that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its name.
    pub id: DeadLetterId,
    /// The orders that it is about; none for a job, which names rows.
    pub orders: Vec<i64>,
    /// How often it was tried.
    pub attempts: i64,
    /// What went wrong last.
    pub error: String,
    /// Since when it is dead.
    pub since: DateTime<Utc>,
}

/// What PostgreSQL has, [`LISTED`] of each kind at most, the latest first.
pub async fn in_database(db: &PgPool) -> sqlx::Result<Vec<DeadLetter>> {
    let unsaid = || "no worker lived to say".to_owned();
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

/// What the queues in Redis have, [`LISTED`] of each at most, the latest first.
pub async fn in_queues(queues: &Queues) -> Result<Vec<DeadLetter>, QueueError> {
    let mut letters = Vec::new();
    for queue in queues.all() {
        let letter = |job: DeadJob| DeadLetter {
            id: DeadLetterId::Job {
                queue: queue.name().to_owned(),
                id: job.id,
            },
            orders: Vec::new(),
            attempts: job.attempts.into(),
            error: job.error,
            since: job.died_at,
        };
        letters.extend(queue.dead(LISTED.into()).await?.into_iter().map(letter));
    }
    Ok(letters)
}

/// Why a letter cannot be tried again, or dropped.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// PostgreSQL.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Redis.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
}

/// Tries a letter again, with all its attempts; `false` if there is none of that name.
pub async fn retry(db: &PgPool, queues: &Queues, letter: &DeadLetterId) -> Result<bool, RetryError> {
    Ok(match letter {
        DeadLetterId::Outbox(id) => outbox::revive(db, Some(*id)).await? > 0,
        DeadLetterId::Delivery(id) => delivery::revive(db, Some(*id)).await? > 0,
        DeadLetterId::Job { queue, id } => match named(queues, queue) {
            Some(queue) => queue.retry(id).await?,
            None => false,
        },
    })
}

/// What became of a letter that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is no more.
    Dropped,
    /// There is none of that name.
    Unknown,
    /// It is a row of the outbox, and stays: its orders have yet to get their confirmations.
    Owed,
}

/// Drops a letter for good.
pub async fn discard(db: &PgPool, queues: &Queues, letter: &DeadLetterId) -> Result<Dropped, RetryError> {
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

/// Tries all letters in PostgreSQL again. Returns how many there were.
pub async fn retry_database(db: &PgPool) -> sqlx::Result<u64> {
    Ok(outbox::revive(db, None).await? + delivery::revive(db, None).await?)
}

/// Tries all dead jobs again. Returns how many there were: those that die again at once are left to the next time, or this
/// might never end.
pub async fn retry_queues(queues: &Queues) -> Result<u64, QueueError> {
    let mut retried = 0;
    for queue in queues.all() {
        let mut dead = queue.dead(LISTED.into()).await?;
        let Some(began) = dead.first().map(|latest| latest.died_at) else {
            continue;
        };
        loop {
            let before = retried;
            for job in &dead {
                retried += u64::from(queue.retry(&job.id).await?);
            }
            // Fewer than a listful, or none that could be revived: that was the last of them.
            if dead.len() < LISTED.into() || retried == before {
                break;
            }
            dead = queue.dead_by(began, LISTED.into()).await?;
        }
    }
    Ok(retried)
}
