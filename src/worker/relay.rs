//! From the outbox to the queue: claims orders whose confirmation is due, and pushes jobs for them.
//!
//! Redis is never touched while a transaction is open. What is claimed stays claimed for [`LEASE`]: if it has not been
//! confirmed by then, whatever became of its job, it is due again.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    outbox::{self, ConfirmOrders},
    queue::{Queue, QueueError},
};

/// How long a confirmation may take before it is asked for again.
const LEASE: Duration = Duration::from_mins(1);
/// Rows of the outbox that one job settles at most. Each is about the orders of one transaction.
const ROWS_A_JOB: u16 = 200;
/// Between two steps while orders keep coming, so that they gather: a step costs the database as much for one as for many,
/// and takes its time from the orders that are placed meanwhile.
const GATHER: Duration = Duration::from_millis(100);
/// How often to look without being woken: for orders of other processes, and for leases that ran out.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pauses after a failure; they double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
}

/// Why a step of the relay failed. What it had claimed is due again, at once or after its lease.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The outbox could not be read.
    #[error("outbox: {0}")]
    Database(#[from] sqlx::Error),
    /// The queue did not take the job.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
}

impl Relay {
    /// A relay from the outbox of `db` to `queue`.
    #[must_use]
    pub fn new(db: PgPool, queue: Queue<ConfirmOrders>) -> Self {
        Self { db, queue }
    }

    /// Claims what is due, up to one job's worth, and pushes the job.
    pub async fn step(&self) -> Result<Relayed, RelayError> {
        let claim = outbox::claim(&self.db, ROWS_A_JOB.into(), LEASE).await?;
        if claim.outbox_ids.is_empty() {
            return Ok(Relayed::Nothing);
        }
        let job = ConfirmOrders::new(claim.outbox_ids.clone());
        if let Err(error) = self.queue.push(&Uuid::now_v7().to_string(), &job).await {
            outbox::release(&self.db, &claim.outbox_ids).await?;
            return Err(error.into());
        }
        Ok(if claim.outbox_ids.len() < ROWS_A_JOB.into() {
            Relayed::Orders(claim.orders)
        } else {
            Relayed::Full(claim.orders)
        })
    }

    /// Steps until `shutdown`, whatever fails meanwhile.
    pub async fn run(&self, wake: &Notify, shutdown: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut failing = false;
        while !shutdown.is_cancelled() {
            let step = self.step().await;
            let was_failing = std::mem::replace(&mut failing, step.is_err());
            match step {
                Ok(relayed) => {
                    if was_failing {
                        tracing::info!("confirmations are being queued again");
                    }
                    pause = FIRST_PAUSE;
                    match relayed {
                        Relayed::Nothing => wait(LOOK_EVERY, shutdown, wake.notified()).await,
                        Relayed::Full(_) => {}
                        Relayed::Orders(_) => wait(GATHER, shutdown, std::future::pending()).await,
                    }
                }
                Err(error) => {
                    if !was_failing {
                        tracing::warn!(%error, "confirmations cannot be queued; trying on");
                    }
                    // Orders go on meanwhile: being woken by them would be no pause.
                    wait(pause, shutdown, std::future::pending()).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

async fn wait(time: Duration, shutdown: &CancellationToken, wake: impl Future<Output = ()>) {
    tokio::select! {
        () = wake => {}
        () = tokio::time::sleep(time) => {}
        () = shutdown.cancelled() => {}
    }
}
