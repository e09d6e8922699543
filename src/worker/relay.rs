//! From the outbox to the queue: claims orders whose confirmation is due, and pushes jobs for them.
//!
//! Redis is never touched while a transaction is open. What is claimed stays claimed for [`LEASE`]: if it has not been
//! confirmed by then, whatever became of its job, it is due again. An outage of Redis costs no row a hand-out: it is noticed
//! before anything is claimed, or else what was claimed is given back.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::steps::{Pace, RelayError, Steps, keep_stepping};
use crate::outbox::{self, ConfirmOrders, Which};
use apalis_redis_queue::Queue;

/// How long a confirmation may take before it is asked for again.
const LEASE: Duration = Duration::from_mins(1);
/// Rows of the outbox that one job settles at most. Each is about the orders of one transaction.
const ROWS_A_JOB: u16 = 200;
/// Jobs that may wait in the queue. Beyond that the outbox is the better place to wait: it has no leases that run out.
const BACKLOG: u64 = 100;
/// A row that was handed out more often is a job of its own, so that it takes no others down with it.
const TOGETHER: i32 = 2;

/// Hands confirmations that are due to the queue.
pub struct Relay {
    db: PgPool,
    queue: Queue<ConfirmOrders>,
}

/// What a step of the relay found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// So many orders, handed to the queue.
    Orders(usize),
    /// So many orders, in as many rows as a job settles: more may be due.
    Full(usize),
    /// Nothing was due.
    Nothing,
    /// So many jobs wait in the queue that nothing was claimed.
    Backlog,
}

impl Relay {
    /// A relay from the outbox of `db` to `queue`.
    #[must_use]
    pub fn new(db: PgPool, queue: Queue<ConfirmOrders>) -> Self {
        Self { db, queue }
    }

    /// Claims what is due, up to one job's worth, and pushes it.
    pub async fn step(&self) -> Result<Relayed, RelayError> {
        let waiting = self.queue.counts().await?.ready;
        if waiting >= BACKLOG {
            return Ok(Relayed::Backlog);
        }
        // While jobs wait, the job of a row whose lease ran out may be one of them. To ask for it again would help nobody,
        // and cost the row a hand-out.
        let which = if waiting == 0 { Which::All } else { Which::New };
        let claim = outbox::claim(&self.db, which, ROWS_A_JOB.into(), LEASE).await?;
        if !claim.given_up.is_empty() {
            tracing::error!(
                order_ids = ?claim.given_up,
                handouts = outbox::HANDOUTS,
                "confirmations given up: `afforo jobs dead` says why, `afforo jobs retry` tries again"
            );
        }
        if claim.rows.is_empty() {
            return Ok(if claim.given_up.is_empty() {
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
        Ok(if claim.rows.len() < ROWS_A_JOB.into() {
            Relayed::Orders(orders)
        } else {
            Relayed::Full(orders)
        })
    }

    async fn push(&self, rows: &[outbox::Row]) -> Result<(), RelayError> {
        let (together, alone): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.handouts <= TOGETHER);
        let together: Vec<i64> = together.into_iter().map(|row| row.id).collect();
        let alone = alone.into_iter().map(|row| vec![row.id]);
        let jobs: Vec<(String, ConfirmOrders)> = alone
            .chain((!together.is_empty()).then_some(together))
            .map(|rows| (Uuid::now_v7().to_string(), ConfirmOrders::new(rows)))
            .collect();
        let jobs: Vec<(&str, &ConfirmOrders)> = jobs.iter().map(|(id, job)| (id.as_str(), job)).collect();
        self.queue.push_many(&jobs).await?;
        Ok(())
    }

    /// Steps until `shutdown`, whatever fails meanwhile.
    pub async fn run(&self, wake: &Notify, shutdown: &CancellationToken) {
        keep_stepping(self, wake, shutdown).await;
    }
}

impl Steps for Relay {
    const WHAT: &'static str = "confirmations";

    async fn take(&self) -> Result<Pace, RelayError> {
        Ok(match self.step().await? {
            Relayed::Full(_) => Pace::Now,
            Relayed::Orders(_) | Relayed::Backlog => Pace::Gather,
            Relayed::Nothing => Pace::Wait,
        })
    }
}
