//! Deliveries: claims those that are due, pushes a job for each, and sends what the job asks for.
//!
//! Each channel has its relay, its queue and its jobs, so that a receiver that is slow holds up nobody else. While a message
//! is under way, no connection to the database is held.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use sqlx::PgPool;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    failed,
    letters::{letter, notice},
    queue_config,
    steps::{Pace, RelayError, Steps, keep_stepping},
};
use crate::{
    config::RedisSettings,
    db,
    delivery::{self, Again, Backoff, Begun, Channel, Deliver, Email, Undelivered, Webhook},
    order,
};
use apalis_redis_queue::{JobContext, JobError, Queue, QueueConfig};

/// Jobs of a channel that are in Redis at a time; the rest waits in PostgreSQL.
const BACKLOG: u64 = 256;
/// How long it is tried to note that a message arrived. Not to note it means to send it again.
const INSIST_FOR: Duration = Duration::from_mins(1);
/// Between two tries.
const INSIST_EVERY: Duration = Duration::from_millis(500);

/// The times of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a delivery may wait in the queue before it is handed out again. A job that comes late is not carried out,
    /// so a short time costs little, and it is how long a delivery is late that Redis forgot.
    pub queued: Duration,
    /// How long a delivery may be under way before it is taken for lost with its worker. It is more than it takes to send
    /// it and to note that.
    pub sending: Duration,
    /// When it is sent again.
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

/// Who is told of confirmed orders: nobody, unless configured.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// By e-mail.
    pub email: Option<Email>,
    /// By webhook.
    pub webhook: Option<Webhook>,
    /// The times of deliveries.
    pub times: Times,
    written: Arc<Notify>,
}

impl Outside {
    /// Tells those that are given.
    #[must_use]
    pub fn new(email: Option<Email>, webhook: Option<Webhook>) -> Self {
        Self {
            email,
            webhook,
            ..Self::default()
        }
    }

    /// The channels that are configured.
    pub(super) fn configured(&self) -> Vec<Sender> {
        let email = self.email.clone().map(Sender::Email);
        let webhook = self.webhook.clone().map(Sender::Webhook);
        email.into_iter().chain(webhook).collect()
    }

    /// Their names.
    pub(super) fn channels(&self) -> Vec<&'static str> {
        let email = self.email.is_some().then_some(Channel::Email);
        let webhook = self.webhook.is_some().then_some(Channel::Webhook);
        let channels = email.into_iter().chain(webhook);
        channels.map(Channel::as_str).collect()
    }

    /// Tells the relays that there is something to deliver.
    pub(super) fn wake(&self) {
        self.written.notify_waiters();
    }
}

/// The queue of a channel. Its jobs note in PostgreSQL how they went: only what keeps them from that is tried again by the
/// queue.
pub(super) fn queue(redis: &RedisSettings, channel: Channel) -> QueueConfig {
    QueueConfig {
        // More than sending may take, together with what is read before and noted afterwards.
        job_timeout: Duration::from_secs(150),
        ..queue_config(redis, &format!("deliver-{}", channel.as_str()))
    }
}

/// Hands deliveries of a channel that are due to its queue.
pub struct DeliveryRelay {
    /// Where deliveries are.
    pub db: PgPool,
    /// The channel's queue.
    pub queue: Queue<Deliver>,
    /// The channel.
    pub channel: Channel,
    /// How long what was handed out is not handed out again.
    pub lease: Duration,
}

impl DeliveryRelay {
    /// Claims as much as the queue should hold, and pushes a job for each. Returns how many.
    pub async fn step(&self) -> Result<usize, RelayError> {
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

    /// Steps until `shutdown`, whatever fails meanwhile.
    pub(super) async fn run(&self, outside: &Outside, shutdown: &CancellationToken) {
        keep_stepping(self, &outside.written, shutdown).await;
    }
}

impl Steps for DeliveryRelay {
    const WHAT: &'static str = "deliveries";

    async fn take(&self) -> Result<Pace, RelayError> {
        Ok(if self.step().await? > 0 {
            Pace::Gather
        } else {
            Pace::Wait
        })
    }
}

/// What sends the messages of a channel.
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

    async fn send(&self, order: &order::Order, begun: &Begun) -> Result<(), Undelivered> {
        let id = &begun.message_id;
        match self {
            Self::Email(email) => email.send(id, letter(order, begun.created_at)).await,
            Self::Webhook(webhook) => {
                let body = notice(order, begun.created_at).map_err(|error| Undelivered {
                    reason: error.to_string(),
                    again: Again::Never,
                })?;
                webhook.send(id, begun.now, body).await
            }
        }
    }
}

/// Sends what a job asks for, and notes how that went.
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
        None => Err(Undelivered {
            reason: "there is no such order".to_owned(),
            again: Again::Never,
        }),
    };
    let pause = match &sent {
        Ok(()) => None,
        Err(undelivered) => times.backoff.pause(begun.attempt, undelivered.again),
    };
    let outcome = match (&sent, pause) {
        (Ok(()), _) => "delivered",
        (Err(_), Some(_)) => "retry",
        (Err(_), None) => "dead",
    };
    counter!("afforo_deliveries_total", "channel" => channel.as_str(), "outcome" => outcome).increment(1);
    log(channel, &begun, &sent, pause);
    note(db, job, &begun, &sent, pause).await
}

/// Writes down how an attempt went; that it succeeded, with some insistence.
async fn note(
    db: &PgPool,
    job: &Deliver,
    begun: &Begun,
    sent: &Result<(), Undelivered>,
    pause: Option<Duration>,
) -> sqlx::Result<()> {
    let id = job.delivery_id();
    if let Err(undelivered) = sent {
        return delivery::failed(db, id, begun.attempt, &undelivered.reason, pause).await;
    }
    let started = Instant::now();
    loop {
        match delivery::delivered(db, id).await {
            Err(error) if started.elapsed() < INSIST_FOR => {
                tracing::debug!(order_id = begun.order_id, %error, "that a message arrived cannot be noted; trying on");
                tokio::time::sleep(INSIST_EVERY).await;
            }
            noted => return noted,
        }
    }
}

fn log(channel: Channel, begun: &Begun, sent: &Result<(), Undelivered>, pause: Option<Duration>) {
    let (channel, order_id, attempt) = (channel.as_str(), begun.order_id, begun.attempt);
    match (sent, pause) {
        (Ok(()), _) => tracing::info!(channel, order_id, attempt, "confirmation delivered"),
        (Err(error), Some(pause)) => {
            let pause_s = pause.as_secs();
            tracing::warn!(channel, order_id, attempt, %error, pause_s, "confirmation not delivered; it is tried again");
        }
        (Err(error), None) => tracing::error!(
            channel, order_id, attempt, %error,
            "confirmation given up: `afforo jobs retry` tries again"
        ),
    }
}
