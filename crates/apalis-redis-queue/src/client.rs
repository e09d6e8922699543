//! The producer side of a queue, and the retry of dead jobs.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use deadpool_redis::{Connection, Pool};
use redis::pipe;
use serde::Serialize;

use super::{
    Payload, QueueConfig, QueueError,
    pool::RedisPool,
    scripts::{self, Keys, PORTION},
};

/// Pushes jobs with a payload `T`, lists jobs, and retries and removes dead ones. Cheap to clone.
///
/// Every operation waits at most 3 s. A failed push may still have happened; pushing the same id again is safe.
#[derive(Clone)]
pub struct Queue<T> {
    pub(super) pool: RedisPool,
    pub(super) config: Arc<QueueConfig>,
    pub(super) keys: Arc<Keys>,
    carries: PhantomData<fn(T)>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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
        let pushed = self.push_portion(delay, &[(task_id, payload)]).await?;
        Ok(pushed.first().copied().unwrap_or(Pushed::AlreadyKnown))
    }

    /// Queues jobs in batches of 200, and returns an outcome for each, in order.
    ///
    /// After an error some of the jobs may be queued. Push all of them again.
    pub async fn push_many(&self, jobs: &[(&str, &T)]) -> Result<Vec<Pushed>, QueueError> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        for portion in jobs.chunks(PORTION) {
            outcomes.extend(self.push_portion(Duration::ZERO, portion).await?);
        }
        Ok(outcomes)
    }

    async fn push_portion(&self, delay: Duration, jobs: &[(&str, &T)]) -> Result<Vec<Pushed>, QueueError> {
        let jobs = jobs
            .iter()
            .map(|(id, payload)| Ok((*id, serde_json::to_vec(payload).map_err(QueueError::Encode)?)))
            .collect::<Result<Vec<_>, QueueError>>()?;
        let pushed = self
            .pool
            .run(async |connection: &mut Connection| {
                Ok(scripts::push(connection, &self.keys, &self.config, delay, &jobs).await?)
            })
            .await?;
        let outcome = |new| if new { Pushed::Queued } else { Pushed::AlreadyKnown };
        Ok(pushed.into_iter().map(outcome).collect())
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
}
