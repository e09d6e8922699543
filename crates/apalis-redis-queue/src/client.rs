//! The producer side of a queue, and its dead jobs.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use deadpool_redis::{Connection, Pool};
use redis::pipe;

use super::{
    Payload, QueueConfig, QueueError,
    pool::RedisPool,
    scripts::{self, Keys, PORTION},
};

/// Pushes jobs with a payload `T`, and lists, retries and removes dead ones. Cheap to clone.
///
/// Every operation waits at most 3 s. A failed push may still have happened; pushing the same id again is safe.
pub struct Queue<T> {
    pub(super) pool: RedisPool,
    pub(super) config: Arc<QueueConfig>,
    pub(super) keys: Arc<Keys>,
    carries: PhantomData<fn(T)>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            config: self.config.clone(),
            keys: self.keys.clone(),
            carries: PhantomData,
        }
    }
}

/// The outcome of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The job waits for a worker.
    Queued,
    /// A job of this id waits, runs, is dead or was done recently. Nothing changed.
    AlreadyKnown,
}

/// The number of jobs in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for a worker.
    pub ready: u64,
    /// Waiting for their due time, or for the end of the pause after a failure.
    pub delayed: u64,
    /// Claimed by a worker.
    pub running: u64,
    /// Failed, and will not run again.
    pub dead: u64,
}

/// A job that will not run again unless it is retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadJob {
    /// The id it was pushed under.
    pub id: String,
    /// The payload in Redis. It is valid JSON unless it could not be decoded.
    pub payload: String,
    /// Number of runs.
    pub attempts: u32,
    /// The error of the last run.
    pub error: String,
    /// When it died, by the clock of Redis.
    pub died_at: DateTime<Utc>,
}

impl<T: Payload> Queue<T> {
    /// A queue on connections of `pool`. Nothing is sent before the first operation.
    pub fn new(pool: Pool, config: QueueConfig) -> Self {
        Self {
            pool: RedisPool(pool),
            keys: Arc::new(Keys::new(&config)),
            config: Arc::new(config),
            carries: PhantomData,
        }
    }

    /// The name of the queue.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The same queue without its payload type, for monitoring.
    pub fn untyped(&self) -> Queue<serde_json::Value> {
        Queue {
            pool: self.pool.clone(),
            config: self.config.clone(),
            keys: self.keys.clone(),
            carries: PhantomData,
        }
    }

    /// Queues a job to run as soon as a worker is free.
    pub async fn push(&self, task_id: &str, payload: &T) -> Result<Pushed, QueueError> {
        self.push_in(Duration::ZERO, task_id, payload).await
    }

    /// Queues a job to run after `delay`, at most one poll interval later.
    pub async fn push_in(&self, delay: Duration, task_id: &str, payload: &T) -> Result<Pushed, QueueError> {
        let job = (task_id, encode(payload)?);
        let pushed = self
            .pool
            .run(async |connection: &mut Connection| {
                Ok(scripts::push(connection, &self.keys, &self.config, delay, &[job]).await?)
            })
            .await?;
        Ok(outcome(pushed.first().is_some_and(|new| *new)))
    }

    /// Queues jobs in batches of 200, and returns an outcome for each, in order.
    ///
    /// After an error some of the jobs may be queued. Push all of them again.
    pub async fn push_many(&self, jobs: &[(&str, &T)]) -> Result<Vec<Pushed>, QueueError> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        for portion in jobs.chunks(PORTION) {
            let encoded = portion
                .iter()
                .map(|(id, payload)| Ok((*id, encode(*payload)?)))
                .collect::<Result<Vec<_>, QueueError>>()?;
            let pushed = self
                .pool
                .run(async |connection: &mut Connection| {
                    Ok(scripts::push(connection, &self.keys, &self.config, Duration::ZERO, &encoded).await?)
                })
                .await?;
            outcomes.extend(pushed.into_iter().map(outcome));
        }
        Ok(outcomes)
    }

    /// The number of jobs in each state. Done ones are not counted here: see [`Queue::done`].
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        let keys = &self.keys;
        let mut commands = pipe();
        commands
            .llen(&keys.ready)
            .zcard(&keys.delayed)
            .zcard(&keys.lease)
            .zcard(&keys.dead);
        self.pool
            .run(async |connection: &mut Connection| {
                let (ready, delayed, running, dead) = commands.query_async(connection).await?;
                Ok(Counts {
                    ready,
                    delayed,
                    running,
                    dead,
                })
            })
            .await
    }

    /// Up to `limit` dead jobs, newest first.
    pub async fn dead(&self, limit: usize) -> Result<Vec<DeadJob>, QueueError> {
        self.dead_by(DateTime::<Utc>::MAX_UTC, limit).await
    }

    /// Up to `limit` jobs that died until `time` by the clock of Redis, newest first.
    pub async fn dead_by(&self, time: DateTime<Utc>, limit: usize) -> Result<Vec<DeadJob>, QueueError> {
        self.pool
            .run(async |connection: &mut Connection| {
                let limit = isize::try_from(limit).unwrap_or(isize::MAX);
                let latest = time.timestamp_millis();
                let newest = redis::Cmd::zrevrangebyscore_limit(&self.keys.dead, latest, "-inf", 0, limit);
                let ids: Vec<String> = newest.query_async(connection).await?;
                self.read_dead(connection, ids).await
            })
            .await
    }

    /// Makes a dead job ready with all its attempts; `false` if no dead job has this id.
    pub async fn retry(&self, task_id: &str) -> Result<bool, QueueError> {
        self.pool
            .run(async |connection: &mut Connection| {
                Ok(scripts::revive(connection, &self.keys, task_id).await?)
            })
            .await
    }

    /// Removes a dead job; `false` if no dead job has this id.
    pub async fn remove(&self, task_id: &str) -> Result<bool, QueueError> {
        self.pool
            .run(async |connection: &mut Connection| {
                Ok(scripts::remove(connection, &self.keys, task_id).await?)
            })
            .await
    }

    async fn read_dead(
        &self,
        connection: &mut Connection,
        ids: Vec<String>,
    ) -> Result<Vec<DeadJob>, QueueError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = pipe();
        for id in &ids {
            commands.hmget(self.keys.job(id), &["payload", "attempts", "error", "died_at"]);
        }
        // A job that is retried or removed meanwhile lacks these fields.
        let rows: Vec<DeadFields> = commands.query_async(connection).await?;
        let jobs = ids
            .into_iter()
            .zip(rows)
            .filter_map(|(id, (payload, attempts, error, died_at))| {
                Some(DeadJob {
                    id,
                    payload: String::from_utf8_lossy(&payload?).into_owned(),
                    attempts: attempts?,
                    error: error?,
                    died_at: DateTime::from_timestamp_millis(died_at?)?,
                })
            });
        Ok(jobs.collect())
    }
}

/// Payload, attempts, error and time of death in ms.
type DeadFields = (Option<Vec<u8>>, Option<u32>, Option<String>, Option<i64>);

fn encode(payload: &impl Payload) -> Result<Vec<u8>, QueueError> {
    serde_json::to_vec(payload).map_err(QueueError::Encode)
}

fn outcome(new: bool) -> Pushed {
    if new { Pushed::Queued } else { Pushed::AlreadyKnown }
}
