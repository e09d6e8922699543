//! The background worker: it confirms orders and keeps house. Any number of them may run beside each other.

mod confirm_orders;
mod periodic;
mod relay;
mod schedule;
mod tallies;

use std::{sync::Arc, time::Duration};

use deadpool_redis::{Config, PoolConfig, Runtime};
use sqlx::PgPool;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    outbox::ConfirmOrders,
    queue::{self, Queue, QueueConfig},
    settings::RedisSettings,
};
pub use periodic::PeriodicJob;
pub use relay::{Relay, Relayed};

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The Redis URL is no such thing.
    #[error("REDIS_URL: {0}")]
    Pool(#[from] deadpool_redis::CreatePoolError),
    /// The same, as the queue sees it.
    #[error("REDIS_URL: {0}")]
    Queue(#[from] queue::QueueError),
    /// A schedule is not written as it should be.
    #[error("schedule: {0}")]
    Schedule(#[from] cron::error::Error),
}

/// The queues that a worker works on.
#[derive(Clone)]
pub struct Queues {
    /// Confirmations that are due.
    pub confirmations: Queue<ConfirmOrders>,
    /// Work that is done at its time.
    pub periodic: Queue<PeriodicJob>,
}

impl Queues {
    /// Makes the queues; connections are opened when they are first needed.
    pub fn new(redis: &RedisSettings) -> Result<Self, WorkerError> {
        let mut config = Config::from_url(redis.url());
        let size = usize::try_from(redis.redis_pool_size).unwrap_or(usize::MAX);
        config.pool = Some(PoolConfig::new(size));
        let pool = config.create_pool(Some(Runtime::Tokio1))?;
        Ok(Self {
            confirmations: Queue::new(pool.clone(), confirmations()),
            periodic: Queue::new(pool, periodic()),
        })
    }
}

fn confirmations() -> QueueConfig {
    QueueConfig::new("confirm-orders")
}

fn periodic() -> QueueConfig {
    // The id of a run stays known for longer than the clocks of two schedulers may differ.
    QueueConfig {
        keep_done: Duration::from_hours(1),
        ..QueueConfig::new("periodic")
    }
}

/// Runs relay, jobs and schedule until `shutdown`, then lets the jobs that run finish. `order_confirmed` wakes the relay,
/// where orders are placed in this process.
pub async fn run(
    db: PgPool,
    redis: &RedisSettings,
    concurrency: u16,
    order_confirmed: Arc<Notify>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let queues = Queues::new(redis)?;
    let url = redis.url().to_owned();
    let schedules = schedule::all()?;
    let mut parts = JoinSet::<Result<(), WorkerError>>::new();

    let relay = Relay::new(db.clone(), queues.confirmations.clone());
    let stop = shutdown.clone();
    parts.spawn(async move {
        relay.run(&order_confirmed, &stop).await;
        Ok(())
    });
    for schedule in schedules {
        let (queue, stop) = (queues.periodic.clone(), shutdown.clone());
        parts.spawn(async move {
            schedule.run(queue, stop).await;
            Ok(())
        });
    }
    let (tallies_db, stop) = (db.clone(), shutdown.clone());
    parts.spawn(async move {
        tallies::keep_short(tallies_db, stop).await;
        Ok(())
    });
    let (jobs_url, jobs_db, stop) = (url.clone(), db.clone(), shutdown.clone());
    parts.spawn(async move {
        let handler = move |job, context| confirm_orders::run(jobs_db.clone(), job, context);
        Ok(queue::work(&jobs_url, confirmations(), concurrency.into(), handler, stop).await?)
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        let handler = move |job, context| periodic::run(db.clone(), job, context);
        Ok(queue::work(&url, periodic(), 1, handler, stop).await?)
    });

    tracing::info!(concurrency, "worker started");
    while let Some(part) = parts.join_next().await {
        match part {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            // A part that panics takes the worker with it, and with that the process: better seen than limping.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    tracing::info!("worker stopped");
    Ok(())
}
