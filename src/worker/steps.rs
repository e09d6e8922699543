//! Taking step after step until the end, whatever fails meanwhile: how relays run.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::db;
use apalis_redis_queue::QueueError;

/// Between two steps while there is more and more to do, so that it gathers: a step costs the database as much for one as
/// for many, and takes its time from the orders that are placed meanwhile.
const GATHER: Duration = Duration::from_millis(100);
/// How often to look without being woken: for what other processes did, and for leases that ran out.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pauses after a failure; they double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a stop waits for a step that is under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// When the next step is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once: there is more.
    Now,
    /// After a while, in which more may gather.
    Gather,
    /// When it is said that there is more, or at the next look.
    Wait,
}

/// Why a step of a relay failed. What it had claimed is due again, at once or after its lease.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// What is owed could not be read.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The queue did not answer, or did not take the job.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
}

/// What is done step by step.
pub(super) trait Steps: Sync {
    /// What the steps queue, in the plural.
    const WHAT: &'static str;

    /// Takes a step.
    fn take(&self) -> impl Future<Output = Result<Pace, RelayError>> + Send;
}

/// Steps until `shutdown`; `wake` ends the wait for more to do.
pub(super) async fn keep_stepping<S: Steps>(steps: &S, wake: &Notify, shutdown: &CancellationToken) {
    let what = S::WHAT;
    let mut pause = FIRST_PAUSE;
    let mut failing = false;
    while !shutdown.is_cancelled() {
        let step = tokio::select! {
            step = db::with_timeout(Box::pin(steps.take())) => step,
            () = overdue(shutdown) => return,
        };
        let was_failing = std::mem::replace(&mut failing, step.is_err());
        match step {
            Ok(pace) => {
                if was_failing {
                    tracing::info!("{what} are being queued again");
                }
                pause = FIRST_PAUSE;
                match pace {
                    Pace::Now => {}
                    Pace::Gather => wait(GATHER, shutdown, std::future::pending()).await,
                    Pace::Wait => wait(LOOK_EVERY, shutdown, wake.notified()).await,
                }
            }
            Err(error) => {
                if let RelayError::Database(error) = &error {
                    db::note(error);
                }
                if !was_failing {
                    tracing::warn!(%error, "{what} cannot be queued; trying on");
                }
                // Orders go on meanwhile: being woken by them would be no pause.
                wait(pause, shutdown, std::future::pending()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Ends when a stop has waited for a step for long enough. A step that is dropped loses nothing: what it claimed is due again
/// after its lease, and a transaction of it is rolled back.
pub(super) async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(STOP_WITHIN).await;
}

async fn wait(time: Duration, shutdown: &CancellationToken, wake: impl Future<Output = ()>) {
    tokio::select! {
        () = wake => {}
        () = tokio::time::sleep(time) => {}
        () = shutdown.cancelled() => {}
    }
}
