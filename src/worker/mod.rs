//! The background worker: it confirms orders and keeps house. Any number of them may run beside each other.

mod backfill;
mod confirm_orders;
pub mod dead_letters;
mod deliver;
mod gauges;
mod letters;
mod periodic;
mod relay;
mod schedule;
mod steps;
mod tallies;

use std::{error::Error, sync::Arc, time::Duration};

use deadpool_redis::{Config, PoolConfig, Runtime};
use sqlx::PgPool;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::RedisSettings,
    delivery::{Channel, Deliver},
    outbox::ConfirmOrders,
    telemetry,
};
use apalis_redis_queue::{self, Counts, JobContext, JobError, Payload, Queue, QueueConfig, QueueError};
use confirm_orders::Confirm;
pub use deliver::{DeliveryRelay, Outside, Times};
pub use gauges::{COUNTED, Owed, describe_metrics, keep_current as measure, owed};
pub use periodic::PeriodicJob;
pub use relay::{Relay, Relayed};
pub use schedule::{RunError, Scheduled, run_now, scheduled};
pub use steps::RelayError;

/// Messages of a channel that are sent at the same time.
const SENT_AT_A_TIME: usize = 8;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The Redis URL is no such thing.
    #[error("REDIS_URL: {0}")]
    Pool(#[from] deadpool_redis::CreatePoolError),
    /// The same, as the queue sees it.
    #[error("REDIS_URL: {0}")]
    Queue(#[from] apalis_redis_queue::QueueError),
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
    /// E-mail that is due.
    pub emails: Queue<Deliver>,
    /// Webhooks that are due.
    pub webhooks: Queue<Deliver>,
}

impl Queues {
    /// Makes the queues; connections are opened when they are first needed.
    pub fn new(redis: &RedisSettings) -> Result<Self, WorkerError> {
        let mut config = Config::from_url(redis.url());
        let size = usize::try_from(redis.redis_pool_size).unwrap_or(usize::MAX);
        config.pool = Some(PoolConfig::new(size));
        let pool = config.create_pool(Some(Runtime::Tokio1))?;
        Ok(Self {
            confirmations: Queue::new(pool.clone(), confirmations(redis)),
            periodic: Queue::new(pool.clone(), periodic(redis)),
            emails: Queue::new(pool.clone(), deliver::queue(redis, Channel::Email)),
            webhooks: Queue::new(pool, deliver::queue(redis, Channel::Webhook)),
        })
    }

    /// The queue of a channel.
    #[must_use]
    pub fn of(&self, channel: Channel) -> &Queue<Deliver> {
        match channel {
            Channel::Email => &self.emails,
            Channel::Webhook => &self.webhooks,
        }
    }

    /// All of them, for who looks after jobs whatever they carry.
    #[must_use]
    pub fn all(&self) -> Vec<Queue<serde_json::Value>> {
        vec![
            self.confirmations.untyped(),
            self.periodic.untyped(),
            self.emails.untyped(),
            self.webhooks.untyped(),
        ]
    }

    /// How many jobs of each queue are in which state.
    pub async fn counts(&self) -> Result<Vec<(String, Counts)>, QueueError> {
        let mut counted = Vec::new();
        // One by one: together they would take the connections of those who push.
        for queue in self.all() {
            counted.push((queue.name().to_owned(), queue.counts().await?));
        }
        Ok(counted)
    }
}

fn queue_config(redis: &RedisSettings, name: &str) -> QueueConfig {
    QueueConfig {
        prefix: redis.redis_key_prefix.clone(),
        ..QueueConfig::new(name)
    }
}

fn confirmations(redis: &RedisSettings) -> QueueConfig {
    // What still fails by the end of a row's lease is asked for anew: its job need not outlast that.
    QueueConfig {
        max_attempts: 4,
        ..queue_config(redis, "confirm-orders")
    }
}

fn periodic(redis: &RedisSettings) -> QueueConfig {
    // The id of a run stays known for longer than the clocks of two schedulers may differ.
    QueueConfig {
        keep_done: Duration::from_hours(1),
        ..queue_config(redis, "periodic")
    }
}

/// How a job of a row ends that failed. The row falls due again: after the last attempt, a dead job beside it would say
/// nothing more, and come back at the wrong time.
fn failed(context: &JobContext, error: impl Error + Send + Sync + 'static) -> Result<(), JobError> {
    if context.attempt < context.max_attempts {
        return Err(JobError::retry(error));
    }
    tracing::warn!(task_id = context.task_id, %error, "job failed; what it was for is asked for again");
    Ok(())
}

/// Runs relays, jobs and schedule until `shutdown`, then lets the jobs that run finish. `order_confirmed` wakes the relay,
/// where orders are placed in this process; `outside` is told of confirmations.
pub async fn run(
    db: PgPool,
    redis: &RedisSettings,
    concurrency: u16,
    outside: Outside,
    order_confirmed: Arc<Notify>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let queues = Queues::new(redis)?;
    let url = redis.url().to_owned();
    let mut parts = Parts::default();

    let (relay, stop) = (
        Relay::new(db.clone(), queues.confirmations.clone()),
        shutdown.clone(),
    );
    parts.spawn(async move { relay.run(&order_confirmed, &stop).await });
    for schedule in schedule::all()? {
        parts.spawn(schedule.run(queues.periodic.clone(), shutdown.clone()));
    }
    parts.spawn(backfill::fold_products(db.clone(), shutdown.clone()));
    parts.spawn(tallies::keep_short(db.clone(), shutdown.clone()));
    if telemetry::counts() {
        parts.spawn(measure(db.clone(), queues.clone(), shutdown.clone()));
    }

    let confirm = Confirm {
        db: db.clone(),
        outside: outside.clone(),
    };
    let handler = move |job, context| confirm.clone().run(job, context);
    parts.work(&url, confirmations(redis), concurrency.into(), handler, &shutdown);
    for sender in outside.configured() {
        let relay = DeliveryRelay {
            db: db.clone(),
            queue: queues.of(sender.channel()).clone(),
            channel: sender.channel(),
            lease: outside.times.queued,
        };
        let (told, stop) = (outside.clone(), shutdown.clone());
        parts.spawn(async move { relay.run(&told, &stop).await });
        let (db, times, queue) = (db.clone(), outside.times, deliver::queue(redis, sender.channel()));
        let handler = move |job, context| deliver::run(db.clone(), sender.clone(), times, job, context);
        parts.work(&url, queue, SENT_AT_A_TIME, handler, &shutdown);
    }
    let handler = move |job, context| periodic::run(db.clone(), job, context);
    parts.work(&url, periodic(redis), 1, handler, &shutdown);

    tracing::info!(concurrency, channels = ?outside.channels(), "worker started");
    parts.end().await?;
    tracing::info!("worker stopped");
    Ok(())
}

/// The parts of a worker, which run beside each other.
#[derive(Default)]
struct Parts(JoinSet<Result<(), WorkerError>>);

impl Parts {
    fn spawn(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            part.await;
            Ok(())
        });
    }

    fn work<T: Payload, Fut: Future<Output = Result<(), JobError>> + Send + 'static>(
        &mut self,
        url: &str,
        queue: QueueConfig,
        concurrency: usize,
        handler: impl Fn(T, JobContext) -> Fut + Send + Sync + 'static,
        shutdown: &CancellationToken,
    ) {
        let (url, stop) = (url.to_owned(), shutdown.clone());
        self.0.spawn(
            async move { Ok(apalis_redis_queue::work(&url, queue, concurrency, handler, stop).await?) },
        );
    }

    /// Waits for the end of all.
    async fn end(mut self) -> Result<(), WorkerError> {
        while let Some(part) = self.0.join_next().await {
            match part {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                // A part that panics takes the worker with it, and with that the process: better seen than limping.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }
}
