//! What a worker holds: it claims jobs, renews their leases, and tells Redis how their runs ended.
//!
//! The renewing and the telling happen in a task of their own. apalis drives a backend only between jobs:
//! not while it drains at shutdown, not while a batch is buffered, not while a handler blocks; and it drops
//! every running job once its backend reports an error. So nothing here depends on being polled, and no
//! error of Redis reaches apalis.

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
    scripts::{self, Claim, Claimed, Keys, PORTION, Settled, Settlement, Verdict},
};

/// Pause before Redis is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Longest error text that is kept with a job, in characters.
const ERROR_LENGTH: usize = 1000;

/// One worker's leases. Clones are handles to the same ones.
///
/// Public in name only: the layer that a backend announces to apalis contains it.
#[derive(Clone)]
pub struct Leases {
    shared: Arc<Shared>,
    // Not in `shared`: the keeper ends when the last handle is gone, and it shares the rest.
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
    /// Number of the claim that is next, or under way and not answered yet.
    claim: u64,
    runs: HashMap<Claim, Run>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    UnderWay,
    /// Its end is on the way to Redis; until it is there the lease must hold.
    Ended,
}

impl Leases {
    /// Starts the keeper. It ends by itself when all handles are dropped: it settles what has ended and
    /// returns what has not.
    pub(super) fn new(link: Link, keys: Keys, config: QueueConfig) -> (Self, JoinHandle<()>) {
        let shared = Arc::new(Shared {
            link,
            keys,
            config,
            worker: Uuid::now_v7().simple().to_string(),
            held: Mutex::default(),
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "it holds as many messages as there are slots, at most"
        )]
        let (ended, settlements) = unbounded_channel();
        let keeper = Keeper {
            shared: shared.clone(),
            settlements,
            unsettled: Vec::new(),
            told_before: false,
        };
        (Self { shared, ended }, tokio::spawn(keeper.keep()))
    }

    pub(super) fn link(&self) -> &Link {
        &self.shared.link
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub(super) fn config(&self) -> &QueueConfig {
        &self.shared.config
    }

    /// Claims as many jobs as keep `slots` busy, at least one. One at a time per worker.
    pub(super) async fn claim(&self, slots: usize) -> RedisResult<Vec<(Claim, Claimed)>> {
        let busy = self
            .shared
            .held()
            .runs
            .values()
            .filter(|run| **run == Run::UnderWay)
            .count();
        self.shared
            .claim(slots.saturating_sub(busy).clamp(1, PORTION))
            .await
    }

    /// Records how a run ended. Never waits.
    pub(super) fn end(&self, claim: Claim, verdict: Verdict, error: String) {
        if let Some(run) = self.shared.held().runs.get_mut(&claim) {
            *run = Run::Ended;
        }
        // The keeper outlives its handles. Should the runtime have dropped it, the lease runs out.
        let _ = self.ended.send(Settlement {
            claim,
            verdict,
            error,
        });
    }
}

/// What apalis calls when a job has gone through all its layers.
impl<R> Acknowledge<R> for Leases {
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn ack(&mut self, result: &Result<R, BoxDynError>, task: &ExecutionContext) -> Self::Future {
        if let Some(claim) = task.data().get::<Claim>() {
            let (verdict, error) = match result {
                Ok(_) => (Verdict::Done, String::new()),
                // The layer's own "request timed out" could be anything's.
                Err(error) if error.is::<Elapsed>() => {
                    (Verdict::Retry, "the job took longer than it may".to_owned())
                }
                Err(error) => (verdict_of(error), text_of(error.as_ref())),
            };
            self.end(claim.clone(), verdict, error);
        }
        ready(Ok(()))
    }
}

fn verdict_of(error: &BoxDynError) -> Verdict {
    let for_good = matches!(error.downcast_ref(), Some(JobError::GiveUp(_))) || error.is::<AbortError>();
    if for_good { Verdict::GiveUp } else { Verdict::Retry }
}

/// The error and its causes; a cause whose text the error above it ends with is not repeated.
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
        // An empty answer leaves the number as it is: it may be the answer to a later try than the one
        // that claimed something.
        held.claim += u64::from(!jobs.is_empty());
        let claimed = jobs.into_iter().map(|job| {
            let claim = Claim {
                id: job.id.clone(),
                token: token.clone(),
            };
            held.runs.insert(claim.clone(), Run::UnderWay);
            (claim, job)
        });
        Ok(claimed.collect())
    }
}

struct Keeper {
    shared: Arc<Shared>,
    settlements: UnboundedReceiver<Settlement>,
    unsettled: Vec<Settlement>,
    /// Redis was told of `unsettled` before, and may have heard it though its answer is missing.
    told_before: bool,
}

impl Keeper {
    async fn keep(mut self) {
        let mut next_beat = Instant::now();
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
                () = sleep_until(next_beat) => {
                    let heartbeat = self.shared.config.heartbeat;
                    next_beat = match self.beat().await {
                        Ok(()) => Instant::now() + heartbeat,
                        Err(_) => Instant::now() + heartbeat.min(RETRY_PAUSE),
                    };
                }
            }
        }
        // Longer than a lease there is nothing left to return.
        let _ = timeout(self.shared.config.lease, self.give_back()).await;
    }

    /// Renews all leases, and the subscription: the connection resubscribes by itself, but silently
    /// goes without if that fails.
    async fn beat(&self) -> RedisResult<()> {
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
                // That of a run that ended may just have been settled, without us having got the answer.
                if held.runs.remove(claim) == Some(Run::UnderWay) {
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

    /// Tells Redis the ends it does not know yet. What it cannot be told now stays in `unsettled`.
    async fn settle(&mut self) {
        let Shared {
            link, keys, config, ..
        } = &*self.shared;
        let unsettled = &self.unsettled;
        let result = link
            .run(async |redis| scripts::settle(redis, keys, config, unsettled).await)
            .await;
        let Ok(outcomes) = result else {
            self.told_before = true;
            return;
        };
        let told_before = mem::take(&mut self.told_before);
        let mut held = self.shared.held();
        for (settlement, outcome) in self.unsettled.drain(..).zip(outcomes) {
            held.runs.remove(&settlement.claim);
            if !(told_before && outcome == Settled::Lost) {
                log(&config.name, &settlement, outcome);
            }
        }
    }

    /// Returns the jobs whose run did not end, those of a claim that was never answered included.
    async fn give_back(mut self) {
        while self.shared.claim(0).await.is_err() {
            sleep(RETRY_PAUSE).await;
        }
        let unended: Vec<Claim> = self.shared.held().runs.keys().cloned().collect();
        for portion in unended.chunks(PORTION) {
            self.unsettled.extend(portion.iter().map(|claim| Settlement {
                claim: claim.clone(),
                verdict: Verdict::Return,
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
        Settled::Dead => tracing::error!(queue, task_id, error, "job failed for good"),
        Settled::Returned => tracing::info!(queue, task_id, "job returned unfinished"),
        Settled::Lost => tracing::warn!(queue, task_id, "job ended after its lease was lost; ignored"),
    }
}
