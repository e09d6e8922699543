//! The relay from the outbox to the queue: it claims due rows and pushes jobs for them.
//!
//! No transaction is open while Redis is called. A claim lasts for [`LEASE`]; rows that are not confirmed by then are due
//! again. An outage of Redis costs no attempt: the relay asks the queue before it claims, and releases rows that it cannot
//! push.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    BackendError,
    poll::{NextPoll, PollTask, poll_until_shutdown},
};
use crate::outbox::{self, ConfirmOrders, Which};
use apalis_redis_queue::Queue;

/// How long a row stays claimed.
const LEASE: Duration = Duration::from_mins(1);
/// Maximum number of rows in a job. Each row has the orders of one transaction.
const ROWS_PER_JOB: u16 = 200;
/// Maximum number of waiting jobs. Further rows wait in the outbox, where no lease expires.
const BACKLOG: u64 = 100;
/// A row with more attempts gets its own job, so that it cannot fail other rows.
const MAX_SHARED_ATTEMPTS: i32 = 2;

/// Queues due confirmations.
pub struct Relay {
    db: PgPool,
    queue: Queue<ConfirmOrders>,
}

/// The result of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// This number of orders was queued.
    Orders(usize),
    /// This number of orders was queued, in a full job: more may be due.
    Full(usize),
    /// Nothing was due.
    Nothing,
    /// Nothing was claimed, because too many jobs wait.
    Backlog,
}

impl Relay {
    /// A relay from the outbox of `db` to `queue`.
    pub fn new(db: PgPool, queue: Queue<ConfirmOrders>) -> Self {
        Self { db, queue }
    }

    /// Claims due rows for up to one job, and pushes it.
    pub async fn step(&self) -> Result<Relayed, BackendError> {
        let waiting = self.queue.counts().await?.ready;
        if waiting >= BACKLOG {
            return Ok(Relayed::Backlog);
        }
        // While jobs wait, one of them may be the job of a row whose lease expired. Claiming that row again would waste an
        // attempt.
        let which = if waiting == 0 { Which::All } else { Which::New };
        let claim = outbox::claim(&self.db, which, ROWS_PER_JOB.into(), LEASE).await?;
        if !claim.dead.is_empty() {
            tracing::error!(
                order_ids = ?claim.dead,
                attempts = outbox::MAX_ATTEMPTS,
                "confirmations are dead: see `afforo jobs dead`, then `afforo jobs retry`"
            );
        }
        if claim.rows.is_empty() {
            return Ok(if claim.dead.is_empty() {
                Relayed::Nothing
            } else {
                Relayed::Orders(0)
            });
        }
        if let Err(error) = self.push(&claim.rows).await {
            let rows: Vec<i64> = claim.rows.iter().map(|row| row.id).collect();
            outbox::release(&self.db, &rows).await?;
            return Err(error);
        }
        let orders = claim.rows.iter().map(|row| row.orders).sum();
        Ok(if claim.rows.len() < ROWS_PER_JOB.into() {
            Relayed::Orders(orders)
        } else {
            Relayed::Full(orders)
        })
    }

    async fn push(&self, rows: &[outbox::Row]) -> Result<(), BackendError> {
        let (shared, single): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.attempts <= MAX_SHARED_ATTEMPTS);
        let shared: Vec<i64> = shared.into_iter().map(|row| row.id).collect();
        let single = single.into_iter().map(|row| vec![row.id]);
        let jobs: Vec<(String, ConfirmOrders)> = single
            .chain((!shared.is_empty()).then_some(shared))
            .map(|rows| (Uuid::now_v7().to_string(), ConfirmOrders::new(rows)))
            .collect();
        let jobs: Vec<(&str, &ConfirmOrders)> = jobs.iter().map(|(id, job)| (id.as_str(), job)).collect();
        self.queue.push_many(&jobs).await?;
        Ok(())
    }

    /// Polls until `shutdown`.
    pub async fn run(&self, wake: &Notify, shutdown: &CancellationToken) {
        poll_until_shutdown(self, wake, shutdown).await;
    }
}

impl PollTask for Relay {
    const NAME: &'static str = "confirmations";

    async fn poll(&self) -> Result<NextPoll, BackendError> {
        Ok(match self.step().await? {
            Relayed::Full(_) => NextPoll::Now,
            Relayed::Orders(_) | Relayed::Backlog => NextPoll::Gather,
            Relayed::Nothing => NextPoll::Wait,
        })
    }
}
