//! The polling loop of relays: it continues after failures, until shutdown.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::BackendError;
use crate::db;

/// Pause between polls while rows keep coming. A poll costs the database the same for one row as for many, so they gather.
const GATHER: Duration = Duration::from_millis(100);
/// Time between polls without a wake-up, for rows of other processes and expired leases.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Pauses after a failure. They double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a shutdown waits for a running poll.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// When to poll next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextPoll {
    /// At once, because more rows are due.
    Now,
    /// After a pause, in which rows gather.
    Gather,
    /// At the next wake-up, or after the poll interval.
    Wait,
}

/// A task that is polled.
pub(super) trait PollTask: Sync {
    /// What the task queues, in the plural, for log lines.
    const NAME: &'static str;

    /// Does one round of work.
    fn poll(&self) -> impl Future<Output = Result<NextPoll, BackendError>> + Send;
}

/// Polls until `shutdown`. `wake` ends a wait early.
pub(super) async fn poll_until_shutdown<T: PollTask>(task: &T, wake: &Notify, shutdown: &CancellationToken) {
    let what = T::NAME;
    let mut pause = FIRST_PAUSE;
    let mut failing = false;
    while !shutdown.is_cancelled() {
        let polled = tokio::select! {
            polled = db::with_timeout(Box::pin(task.poll())) => polled,
            () = shutdown_timeout(shutdown) => return,
        };
        let was_failing = std::mem::replace(&mut failing, polled.is_err());
        match polled {
            Ok(next) => {
                if was_failing {
                    tracing::info!("{what} are being queued again");
                }
                pause = FIRST_PAUSE;
                match next {
                    NextPoll::Now => {}
                    NextPoll::Gather => wait(GATHER, shutdown, std::future::pending()).await,
                    NextPoll::Wait => wait(POLL_INTERVAL, shutdown, wake.notified()).await,
                }
            }
            Err(error) => {
                if let BackendError::Database(error) = &error {
                    db::note(error);
                }
                if !was_failing {
                    tracing::warn!(%error, "{what} cannot be queued; retrying");
                }
                // No wake-up: each placed order would end the pause.
                wait(pause, shutdown, std::future::pending()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Ends when a shutdown has waited long enough for a poll. A dropped poll loses nothing: its claims are due again after
/// their lease, and its transaction is rolled back.
pub(super) async fn shutdown_timeout(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
}

async fn wait(time: Duration, shutdown: &CancellationToken, wake: impl Future<Output = ()>) {
    tokio::select! {
        () = wake => {}
        () = tokio::time::sleep(time) => {}
        () = shutdown.cancelled() => {}
    }
}
