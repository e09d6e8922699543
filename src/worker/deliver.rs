//! Deliveries: a relay claims due ones and pushes a job for each, and the job sends the message.
//!
//! Each channel has its own relay, queue and jobs, so that a slow receiver delays only its channel. No database connection is
//! held while a message is sent.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use sqlx::PgPool;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    BackendError, failed,
    messages::{email, webhook_body},
    poll::{NextPoll, PollTask, poll_until_shutdown},
    queue_config,
};
use crate::{
    config::{DeliverySettings, DeliverySettingsError, RedisSettings},
    db,
    delivery::{self, Backoff, Begun, Channel, Deliver, DeliveryError, Email, Webhook},
    order,
};
use apalis_redis_queue::{JobContext, JobError, Queue, QueueConfig};

/// Maximum number of jobs of a channel in Redis. Further deliveries wait in PostgreSQL.
const BACKLOG: u64 = 256;
/// How long the worker retries to record a delivered message. Otherwise it would be sent again.
const RECORD_TIMEOUT: Duration = Duration::from_mins(1);
/// Pause between these retries.
const RECORD_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Leases and backoff of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a delivery may wait in the queue before it is claimed again. Late jobs are ignored, so a short time costs
    /// little. It bounds the delay of deliveries that Redis lost.
    pub queued: Duration,
    /// How long an attempt may take before it counts as lost. It is longer than sending and recording takes.
    pub sending: Duration,
    /// The pauses between attempts.
    pub backoff: Backoff,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            queued: Duration::from_mins(2),
            sending: Duration::from_mins(3),
            backoff: Backoff::default(),
        }
    }
}

/// The configured receivers of confirmed orders.
#[derive(Clone, Debug, Default)]
pub struct Notifiers {
    pub(super) senders: Vec<Sender>,
    /// Leases and backoff.
    pub times: Times,
    written: Arc<Notify>,
}

impl Notifiers {
    /// Notifies the given receivers.
    pub fn new(email: Option<Email>, webhook: Option<Webhook>) -> Self {
        let (email, webhook) = (email.map(Sender::Email), webhook.map(Sender::Webhook));
        Self {
            senders: email.into_iter().chain(webhook).collect(),
            ..Self::default()
        }
    }

    /// The receivers that the settings name.
    pub fn from_settings(settings: &DeliverySettings) -> Result<Self, DeliverySettingsError> {
        Ok(Self::new(settings.email()?, settings.webhook()?))
    }

    /// The names of the configured channels.
    pub(super) fn channels(&self) -> Vec<&'static str> {
        self.senders
            .iter()
            .map(|sender| sender.channel().as_str())
            .collect()
    }

    /// Wakes the relays after deliveries were written.
    pub(super) fn wake(&self) {
        self.written.notify_waiters();
    }
}

/// The queue of a channel. PostgreSQL stores the result of an attempt, so the queue retries only failures to store it.
pub(super) fn queue(redis: &RedisSettings, channel: Channel) -> QueueConfig {
    QueueConfig {
        // Longer than reading, sending and recording together.
        job_timeout: Duration::from_secs(150),
        ..queue_config(redis, &format!("deliver-{}", channel.as_str()))
    }
}

/// Queues due deliveries of a channel.
pub struct DeliveryRelay {
    /// The database.
    pub db: PgPool,
    /// The channel's queue.
    pub queue: Queue<Deliver>,
    /// The channel.
    pub channel: Channel,
    /// How long a delivery stays claimed.
    pub lease: Duration,
}

impl DeliveryRelay {
    /// Claims deliveries up to the backlog, and pushes a job for each. Returns their number.
    pub async fn step(&self) -> Result<usize, BackendError> {
        let counts = self.queue.counts().await?;
        let room = BACKLOG.saturating_sub(counts.ready + counts.delayed + counts.running);
        if room == 0 {
            return Ok(0);
        }
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let jobs = delivery::claim(&self.db, self.channel, limit, self.lease).await?;
        if jobs.is_empty() {
            return Ok(0);
        }
        let ids: Vec<String> = jobs.iter().map(|_| Uuid::now_v7().to_string()).collect();
        let pushes: Vec<(&str, &Deliver)> = ids.iter().map(String::as_str).zip(&jobs).collect();
        if let Err(error) = self.queue.push_many(&pushes).await {
            delivery::release(&self.db, &jobs).await?;
            return Err(error.into());
        }
        Ok(jobs.len())
    }

    /// Polls until `shutdown`.
    pub(super) async fn run(&self, notifiers: &Notifiers, shutdown: &CancellationToken) {
        poll_until_shutdown(self, &notifiers.written, shutdown).await;
    }
}

impl PollTask for DeliveryRelay {
    const NAME: &'static str = "deliveries";

    async fn poll(&self) -> Result<NextPoll, BackendError> {
        Ok(if self.step().await? > 0 {
            NextPoll::Gather
        } else {
            NextPoll::Wait
        })
    }
}

/// The sender of a channel.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    Email(Email),
    Webhook(Webhook),
}

impl Sender {
    pub fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Webhook(_) => Channel::Webhook,
        }
    }

    async fn send(&self, order: &order::Order, begun: &Begun) -> Result<(), DeliveryError> {
        let id = &begun.message_id;
        match self {
            Self::Email(email) => email.send(id, self::email(order, begun.created_at)).await,
            Self::Webhook(webhook) => {
                let body = webhook_body(order, begun.created_at);
                let body = body.map_err(|error| DeliveryError::never(&error))?;
                webhook.send(id, begun.now, body).await
            }
        }
    }
}

/// Sends the message of a job, and records the result.
pub(super) async fn run(
    db: PgPool,
    sender: Sender,
    times: Times,
    job: Deliver,
    context: JobContext,
) -> Result<(), JobError> {
    let done = deliver(&db, &sender, times, &job).await;
    done.inspect_err(db::note)
        .or_else(|error| failed(&context, error))
}

async fn deliver(db: &PgPool, sender: &Sender, times: Times, job: &Deliver) -> sqlx::Result<()> {
    let channel = sender.channel();
    let Some(begun) = delivery::begin(db, job, channel, times.sending).await? else {
        return Ok(());
    };
    let sent = match order::get(db, begun.order_id).await? {
        Some(order) => sender.send(&order, &begun).await,
        None => Err(DeliveryError::never(&"the order does not exist")),
    };
    let pause = match &sent {
        Ok(()) => None,
        Err(error) => times.backoff.pause(begun.attempt, error.retry),
    };
    let outcome = match (&sent, pause) {
        (Ok(()), _) => "delivered",
        (Err(_), Some(_)) => "retry",
        (Err(_), None) => "dead",
    };
    counter!("afforo_deliveries_total", "channel" => channel.as_str(), "outcome" => outcome).increment(1);
    log(channel, &begun, &sent, pause);
    record(db, job, &begun, &sent, pause).await
}

/// Records the result of an attempt. Retries for a delivered message.
async fn record(
    db: &PgPool,
    job: &Deliver,
    begun: &Begun,
    sent: &Result<(), DeliveryError>,
    pause: Option<Duration>,
) -> sqlx::Result<()> {
    let id = job.delivery_id;
    if let Err(error) = sent {
        return delivery::failed(db, id, begun.attempt, &error.reason, pause).await;
    }
    let started = Instant::now();
    loop {
        match delivery::delivered(db, id).await {
            Err(error) if started.elapsed() < RECORD_TIMEOUT => {
                tracing::debug!(order_id = begun.order_id, %error, "cannot record a delivered message; retrying");
                tokio::time::sleep(RECORD_RETRY_PAUSE).await;
            }
            noted => return noted,
        }
    }
}

fn log(channel: Channel, begun: &Begun, sent: &Result<(), DeliveryError>, pause: Option<Duration>) {
    let (channel, order_id, attempt) = (channel.as_str(), begun.order_id, begun.attempt);
    match (sent, pause) {
        (Ok(()), _) => tracing::info!(channel, order_id, attempt, "confirmation delivered"),
        (Err(error), Some(pause)) => {
            let pause_s = pause.as_secs();
            tracing::warn!(channel, order_id, attempt, %error, pause_s, "confirmation not delivered; retrying later");
        }
        (Err(error), None) => tracing::error!(
            channel, order_id, attempt, %error,
            "delivery is dead: see `afforo jobs retry`"
        ),
    }
}
