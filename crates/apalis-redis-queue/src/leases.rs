//! The leases of a worker: claim jobs, renew their leases, and report to Redis how runs ended.
//!
//! The lease manager renews and reports in its own task. apalis polls a backend only between jobs: not while it
//! drains at shutdown, not while a batch is buffered, not while a handler blocks. It also drops every running job
//! when its backend returns an error. So nothing here depends on being polled, and no Redis error reaches apalis.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apalis_core::{
    error::AbortError, error::BoxDynError, task::ExecutionContext, worker::ext::ack::Acknowledge,
};
use metrics::counter;
use redis::RedisResult;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::timeout::error::Elapsed;
use uuid::Uuid;

use super::{
    JobError, QueueConfig,
    link::Link,
    scripts::{self, Claim, Claimed, Keys, Outcome, PORTION, Settled, Settlement},
};

/// Pause before a failed command is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Maximum length of the error text stored with a job, in characters.
const ERROR_LENGTH: usize = 1000;

/// The leases of one worker. Clones share them.
///
/// Public only because the layer type of the backend names it.
#[derive(Clone)]
pub struct Leases {
    shared: Arc<Shared>,
    // Not in `shared`, which the lease manager holds: it ends when the last sender is dropped.
    ended: UnboundedSender<Settlement>,
}

struct Shared {
    link: Link,
    keys: Keys,
    config: QueueConfig,
    worker: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Number of the next claim, or of the claim that Redis has not answered yet.
    claim: u64,
    runs: HashMap<Claim, Run>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Running,
    /// The result is not stored in Redis yet, so the lease must still be renewed.
    Ended,
}

impl Leases {
    /// Starts the lease manager. When all handles are dropped it reports ended runs, releases the other jobs, and ends.
    pub(super) fn new(link: Link, keys: Keys, config: QueueConfig) -> (Self, JoinHandle<()>) {
        let shared = Arc::new(Shared {
            link,
            keys,
            config,
            worker: Uuid::now_v7().simple().to_string(),
            held: Mutex::default(),
        });
        #[expect(clippy::disallowed_methods, reason = "at most one message for each slot")]
        let (ended, settlements) = unbounded_channel();
        let manager = LeaseManager {
            shared: shared.clone(),
            settlements,
            unsettled: Vec::new(),
            sent_before: false,
        };
        (Self { shared, ended }, tokio::spawn(manager.run()))
    }

    pub(super) fn link(&self) -> &Link {
        &self.shared.link
    }

    pub(super) fn config(&self) -> &QueueConfig {
        &self.shared.config
    }

    /// Claims a job for each free slot, at least one. A worker makes one claim at a time.
    pub(super) async fn claim(&self, slots: usize) -> RedisResult<Vec<(Claim, Claimed)>> {
        let busy = self
            .shared
            .held()
            .runs
            .values()
            .filter(|run| **run == Run::Running)
            .count();
        self.shared
            .claim(slots.saturating_sub(busy).clamp(1, PORTION))
            .await
    }

    /// Records how a run ended. Never waits.
    pub(super) fn end(&self, claim: Claim, outcome: Outcome, error: String) {
        if let Some(run) = self.shared.held().runs.get_mut(&claim) {
            *run = Run::Ended;
        }
        // The lease manager outlives its handles, unless the runtime dropped it: then the lease expires.
        let _ = self.ended.send(Settlement {
            claim,
            outcome,
            error,
        });
    }
}

/// apalis calls this when a job has passed all layers.
impl<R> Acknowledge<R> for Leases {
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn ack(&mut self, result: &Result<R, BoxDynError>, task: &ExecutionContext) -> Self::Future {
        if let Some(claim) = task.data().get::<Claim>() {
            let (outcome, error) = match result {
                Ok(_) => (Outcome::Done, String::new()),
                // The layer's own text, "request timed out", does not name the job.
                Err(error) if error.is::<Elapsed>() => {
                    (Outcome::Retry, "the job took longer than it may".to_owned())
                }
                Err(error) => (outcome_of(error), text_of(error.as_ref())),
            };
            self.end(claim.clone(), outcome, error);
        }
        ready(Ok(()))
    }
}

fn outcome_of(error: &BoxDynError) -> Outcome {
    let for_good = matches!(error.downcast_ref(), Some(JobError::GiveUp(_))) || error.is::<AbortError>();
    if for_good { Outcome::GiveUp } else { Outcome::Retry }
}

/// The error and its causes. Skips a cause that the error above it already quotes.
pub(super) fn text_of(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let deeper = error.to_string();
        if !text.ends_with(&deeper) {
            text.push_str(": ");
            text.push_str(&deeper);
        }
        cause = error.source();
    }
    text.chars().take(ERROR_LENGTH).collect()
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn claim(&self, wanted: usize) -> RedisResult<Vec<(Claim, Claimed)>> {
        let number = self.held().claim;
        let jobs = self
            .link
            .run(async |redis| {
                scripts::claim(redis, &self.keys, &self.config, &self.worker, number, wanted).await
            })
            .await?;
        let token = scripts::token(&self.worker, number);
        let mut held = self.held();
        // An empty answer keeps the number: an earlier try of this claim may have got jobs.
        held.claim += u64::from(!jobs.is_empty());
        let claimed = jobs.into_iter().map(|job| {
            let claim = Claim {
                id: job.id.clone(),
                token: token.clone(),
            };
            held.runs.insert(claim.clone(), Run::Running);
            (claim, job)
        });
        Ok(claimed.collect())
    }
}

struct LeaseManager {
    shared: Arc<Shared>,
    settlements: UnboundedReceiver<Settlement>,
    unsettled: Vec<Settlement>,
    /// `unsettled` was sent before without an answer, so Redis may have stored it.
    sent_before: bool,
}

impl LeaseManager {
    async fn run(mut self) {
        let mut next_heartbeat = Instant::now();
        loop {
            let all_settled = self.unsettled.is_empty();
            tokio::select! {
                received = self.settlements.recv_many(&mut self.unsettled, PORTION), if all_settled => {
                    if received == 0 {
                        break;
                    }
                    self.settle().await;
                }
                () = sleep(RETRY_PAUSE), if !all_settled => self.settle().await,
                () = sleep_until(next_heartbeat) => {
                    let heartbeat = self.shared.config.heartbeat;
                    next_heartbeat = match self.heartbeat().await {
                        Ok(()) => Instant::now() + heartbeat,
                        Err(_) => Instant::now() + heartbeat.min(RETRY_PAUSE),
                    };
                }
            }
        }
        // After the lease time there is nothing left to release.
        let _ = timeout(self.shared.config.lease, self.release()).await;
    }

    /// Renews all leases and the subscription. The connection resubscribes by itself, but ignores a failure to do so.
    async fn heartbeat(&self) -> RedisResult<()> {
        let Shared {
            link, keys, config, ..
        } = &*self.shared;
        let claims: Vec<Claim> = self.shared.held().runs.keys().cloned().collect();
        for portion in claims.chunks(PORTION) {
            let renewed = link
                .run(async |redis| scripts::extend(redis, keys, config, portion).await)
                .await?;
            let mut held = self.shared.held();
            for (claim, _) in portion.iter().zip(renewed).filter(|(_, renewed)| !renewed) {
                // The lease of an ended run may be gone because its result was stored and the answer lost.
                if held.runs.remove(claim) == Some(Run::Running) {
                    tracing::warn!(
                        queue = config.name,
                        task_id = claim.id,
                        "lease lost while the job runs"
                    );
                }
            }
        }
        link.run(async |redis| redis.subscribe(&keys.wake).await).await
    }

    /// Reports ended runs to Redis. Unreported ones stay in `unsettled`.
    async fn settle(&mut self) {
        let Shared {
            link, keys, config, ..
        } = &*self.shared;
        let unsettled = &self.unsettled;
        let result = link
            .run(async |redis| scripts::settle(redis, keys, config, unsettled).await)
            .await;
        // With an outcome missing, the settlements stay: a lost one would keep its job leased for ever.
        let Some(outcomes) = result.ok().filter(|outcomes| outcomes.len() == unsettled.len()) else {
            self.sent_before = true;
            return;
        };
        let sent_before = mem::take(&mut self.sent_before);
        let mut held = self.shared.held();
        for (settlement, outcome) in self.unsettled.drain(..).zip(outcomes) {
            held.runs.remove(&settlement.claim);
            if !(sent_before && outcome == Settled::Lost) {
                log(&config.name, &settlement, outcome);
            }
        }
    }

    /// Releases jobs whose run did not end, including those of an unanswered claim.
    async fn release(mut self) {
        while self.shared.claim(0).await.is_err() {
            sleep(RETRY_PAUSE).await;
        }
        let unfinished: Vec<Claim> = self.shared.held().runs.keys().cloned().collect();
        for portion in unfinished.chunks(PORTION) {
            self.unsettled.extend(portion.iter().map(|claim| Settlement {
                claim: claim.clone(),
                outcome: Outcome::Release,
                error: String::new(),
            }));
            while !self.unsettled.is_empty() {
                self.settle().await;
                if !self.unsettled.is_empty() {
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

fn log(queue: &str, settlement: &Settlement, outcome: Settled) {
    let task_id = &settlement.claim.id;
    let error = &settlement.error;
    counter!("afforo_jobs_total", "queue" => queue.to_owned(), "outcome" => outcome.as_str()).increment(1);
    match outcome {
        Settled::Done => tracing::debug!(queue, task_id, "job done"),
        Settled::Retry => tracing::warn!(queue, task_id, error, "job failed; it will be retried"),
        Settled::Dead => tracing::error!(queue, task_id, error, "job failed and is dead"),
        Settled::Returned => tracing::info!(queue, task_id, "job released unfinished"),
        Settled::Lost => tracing::warn!(queue, task_id, "job ended after its lease was lost; ignored"),
    }
}
