//! The job that confirms orders: it writes and logs their confirmations. Running it again confirms no order twice.

use sqlx::{Executor, PgPool};

use super::{Notifiers, failed};
use crate::{
    db,
    order::{self, ConfirmedOrder},
    outbox::{self, ConfirmOrders},
};
use apalis_redis_queue::{JobContext, JobError};

/// The database and the receivers of confirmations.
#[derive(Clone)]
pub(super) struct Confirm {
    pub db: PgPool,
    pub notifiers: Notifiers,
}

/// Lock timeout for settling rows one by one: a locked row must not delay the others.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '100ms'";

/// Rows that could not be settled while others could.
#[derive(Debug, thiserror::Error)]
#[error("orders {order_ids:?} not confirmed, outbox rows {locked:?} locked: {error}")]
struct Refused {
    /// Orders whose confirmation PostgreSQL refused.
    order_ids: Vec<i64>,
    /// Rows that are locked, or whose confirmations are.
    locked: Vec<i64>,
    error: sqlx::Error,
}

impl Confirm {
    pub async fn run(self, job: ConfirmOrders, context: JobContext) -> Result<(), JobError> {
        let owing = job.outbox_ids().map_err(JobError::give_up)?;
        let is_last = context.attempt >= context.max_attempts;
        let error = match self.settle_together(owing).await {
            Ok(()) => return Ok(()),
            Err(error) if is_of_the_row(&error) => match Box::pin(self.settle_each(owing)).await {
                Ok(None) => return Ok(()),
                Ok(Some(refused)) => {
                    if is_last {
                        self.uncount(&refused.locked, &refused.error).await;
                    }
                    return failed(&context, refused);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        db::note(&error);
        if is_last && db::is_transient(&error) {
            self.uncount(owing, &error).await;
        }
        failed(&context, error)
    }

    /// Does not count the attempt: an outage of PostgreSQL must not make a row dead.
    async fn uncount(&self, rows: &[i64], error: &sqlx::Error) {
        let uncounted = outbox::uncount(&self.db, rows, &error.to_string()).await;
        uncounted.unwrap_or_else(|error| tracing::debug!(%error, "an attempt could not be uncounted"));
    }

    /// Settles rows one by one, so that a bad row does not fail the others. Returns the refused and locked rows, if any. Ends
    /// with the first error that is not about a row, such as a lost connection.
    async fn settle_each(&self, rows: &[i64]) -> sqlx::Result<Option<Refused>> {
        let (mut order_ids, mut locked, mut last) = (Vec::new(), Vec::new(), None);
        for row in rows {
            match self.settle_alone(*row).await {
                Ok(()) => {}
                Err(error) if db::is_lock_timeout(&error) => {
                    locked.push(*row);
                    last = Some(error);
                }
                Err(error) if is_of_the_row(&error) => {
                    order_ids.extend(outbox::note_failure(&self.db, *row, &error.to_string()).await?);
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(last.map(|error| Refused {
            order_ids,
            locked,
            error,
        }))
    }

    async fn settle_together(&self, rows: &[i64]) -> sqlx::Result<()> {
        let confirmed = outbox::settle(&self.db, rows, &self.notifiers.channels()).await?;
        self.tell(&confirmed).await;
        Ok(())
    }

    async fn settle_alone(&self, row: i64) -> sqlx::Result<()> {
        let mut tx = self.db.begin().await?;
        tx.execute(LOCK_TIMEOUT).await?;
        let confirmed = outbox::settle(&mut *tx, &[row], &self.notifiers.channels()).await?;
        db::commit(tx).await?;
        self.tell(&confirmed).await;
        Ok(())
    }

    /// Wakes the delivery relays, and logs the confirmed orders. A failure to read them changes nothing.
    async fn tell(&self, confirmed: &[i64]) {
        if confirmed.is_empty() {
            return;
        }
        self.notifiers.wake();
        match order::confirmed(&self.db, confirmed).await {
            Ok(orders) => orders.iter().for_each(log),
            Err(error) => {
                tracing::warn!(order_ids = ?confirmed, %error, "orders confirmed, but they could not be read for the log");
            }
        }
    }
}

/// Whether the error is about this row (refused or locked), so that another row may succeed.
fn is_of_the_row(error: &sqlx::Error) -> bool {
    let passing = db::is_transient(error) && !db::is_lock_timeout(error);
    matches!(error, sqlx::Error::Database(_)) && !passing
}

fn log(order: &ConfirmedOrder) {
    tracing::info!(
        order_id = order.id,
        store = order.store_name,
        items = order.item_count,
        total_amount = %order.total_amount,
        "order confirmation sent"
    );
}
