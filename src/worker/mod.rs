//! The background worker: confirmations, deliveries, periodic jobs. Any number of workers may run at the same time.

mod backfill;
mod compact_counters;
mod confirm_orders;
pub mod dead_letters;
mod deliver;
mod gauges;
mod messages;
mod periodic;
mod poll;
mod relay;
mod schedule;

use std::{error::Error, sync::Arc, time::Duration};

use deadpool_redis::{Config, PoolConfig, Runtime};
use sqlx::PgPool;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::RedisSettings,
    db,
    delivery::{Channel, Deliver},
    outbox::ConfirmOrders,
    telemetry,
};
use apalis_redis_queue::{self, Counts, JobContext, JobError, Payload, Queue, QueueConfig, QueueError};
use confirm_orders::Confirm;
pub use deliver::{DeliveryRelay, Notifiers, Times};
pub use gauges::{COUNTED, Owed, keep_current as measure, owed};
pub use periodic::PeriodicJob;
pub use relay::{Relay, Relayed};
pub use schedule::{Scheduled, run_now, scheduled};

/// Messages of a channel that are sent concurrently.
const DELIVERY_CONCURRENCY: usize = 8;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The Redis URL is invalid.
    #[error("REDIS_URL: {0}")]
    Pool(#[from] deadpool_redis::CreatePoolError),
    /// The Redis URL is invalid for the queue.
    #[error("REDIS_URL: {0}")]
    Queue(#[from] apalis_redis_queue::QueueError),
}

/// Why a relay or an operation on dead letters failed. Rows that a relay claimed are due again, at once or after their lease.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// PostgreSQL failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The queue did not answer or did not accept a job.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
}

/// The queues of a worker.
#[derive(Clone)]
pub struct Queues {
    /// Due confirmations.
    pub confirmations: Queue<ConfirmOrders>,
    /// Periodic jobs.
    pub periodic: Queue<PeriodicJob>,
    /// Due e-mail.
    pub emails: Queue<Deliver>,
    /// Due webhooks.
    pub webhooks: Queue<Deliver>,
}

impl Queues {
    /// Creates the queues. Connections are opened at their first use.
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
    pub fn of(&self, channel: Channel) -> &Queue<Deliver> {
        match channel {
            Channel::Email => &self.emails,
            Channel::Webhook => &self.webhooks,
        }
    }

    /// All queues without their payload types, for monitoring.
    pub fn all(&self) -> Vec<Queue<serde_json::Value>> {
        vec![
            self.confirmations.untyped(),
            self.periodic.untyped(),
            self.emails.untyped(),
            self.webhooks.untyped(),
        ]
    }

    /// The number of jobs of each queue in each state.
    pub async fn counts(&self) -> Result<Vec<(String, Counts)>, QueueError> {
        let mut counted = Vec::new();
        // One after the other, to leave connections for producers.
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
    // After the lease of a row its job is pushed again, so more attempts are not needed.
    QueueConfig {
        max_attempts: 4,
        ..queue_config(redis, "confirm-orders")
    }
}

fn periodic(redis: &RedisSettings) -> QueueConfig {
    // The id of a run stays known for longer than the clocks of schedulers differ.
    QueueConfig {
        keep_done: Duration::from_hours(1),
        ..queue_config(redis, "periodic")
    }
}

/// The result of a failed job of rows. After the last attempt the job is done, not dead: its rows become due again and
/// cause a new job.
fn failed(context: &JobContext, error: impl Error + Send + Sync + 'static) -> Result<(), JobError> {
    if context.attempt < context.max_attempts {
        return Err(JobError::retry(error));
    }
    tracing::warn!(task_id = context.task_id, %error, "job failed; its rows will be queued again");
    Ok(())
}

/// Ends a job when this process connects to another database host. It is retried there.
async fn on_one_host(job: impl Future<Output = Result<(), JobError>>) -> Result<(), JobError> {
    let done = db::until_switched(job).await;
    done.unwrap_or_else(|| Err(JobError::retry(db::host_changed())))
}

/// Runs relays, jobs and schedules until `shutdown`, then waits for running jobs. `order_confirmed` wakes the relay when
/// this process places an order.
pub async fn run(
    db: PgPool,
    redis: &RedisSettings,
    concurrency: u16,
    notifiers: Notifiers,
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
    for schedule in schedule::all() {
        parts.spawn(schedule.run(queues.periodic.clone(), shutdown.clone()));
    }
    parts.spawn(backfill::fold_products(db.clone(), shutdown.clone()));
    parts.spawn(compact_counters::run(db.clone(), shutdown.clone()));
    if telemetry::counts() {
        parts.spawn(measure(db.clone(), queues.clone(), shutdown.clone()));
    }

    let confirm = Confirm {
        db: db.clone(),
        notifiers: notifiers.clone(),
    };
    let handler = move |job, context| on_one_host(confirm.clone().run(job, context));
    parts.work(&url, confirmations(redis), concurrency.into(), handler, &shutdown);
    for sender in notifiers.senders.clone() {
        let relay = DeliveryRelay {
            db: db.clone(),
            queue: queues.of(sender.channel()).clone(),
            channel: sender.channel(),
            lease: notifiers.times.queued,
        };
        let (relay_to, stop) = (notifiers.clone(), shutdown.clone());
        parts.spawn(async move { relay.run(&relay_to, &stop).await });
        let (db, times, queue) = (
            db.clone(),
            notifiers.times,
            deliver::queue(redis, sender.channel()),
        );
        let handler = move |job, context| deliver::run(db.clone(), sender.clone(), times, job, context);
        parts.work(&url, queue, DELIVERY_CONCURRENCY, handler, &shutdown);
    }
    let handler = move |job, context| on_one_host(periodic::run(db.clone(), job, context));
    parts.work(&url, periodic(redis), 1, handler, &shutdown);

    tracing::info!(concurrency, channels = ?notifiers.channels(), "worker started");
    parts.end().await?;
    tracing::info!("worker stopped");
    Ok(())
}

/// The concurrent parts of a worker.
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

    /// Waits for all parts.
    async fn end(mut self) -> Result<(), WorkerError> {
        while let Some(part) = self.0.join_next().await {
            match part {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                // A panic ends the whole process: a worker that lacks a part would fail unnoticed.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }
}
