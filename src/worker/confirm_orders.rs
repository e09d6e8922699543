//! The job that confirms orders: it writes their confirmations and logs them. Running it again confirms nothing twice.

use sqlx::{Executor, PgPool};

use super::{Outside, failed};
use crate::{
    db,
    order::{self, ConfirmedOrder},
    outbox::{self, ConfirmOrders},
};
use apalis_redis_queue::{JobContext, JobError};

/// Where confirmations are written, and who is told of them.
#[derive(Clone)]
pub(super) struct Confirm {
    pub db: PgPool,
    pub outside: Outside,
}

/// How long each row is waited for where rows are settled one by one: those that are locked hold up the rest.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '100ms'";

/// Rows that could not be settled, though others could.
#[derive(Debug, thiserror::Error)]
#[error("orders {order_ids:?} not confirmed, outbox rows {locked:?} locked: {error}")]
struct Refused {
    /// Orders whose confirmation PostgreSQL refused to take.
    order_ids: Vec<i64>,
    /// Rows that somebody else has locked, or whose confirmations.
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
                        self.excuse(&refused.locked, &refused.error).await;
                    }
                    return failed(&context, refused);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        db::note(&error);
        if is_last && db::is_transient(&error) {
            self.excuse(owing, &error).await;
        }
        failed(&context, error)
    }

    /// Gives a hand-out back: however long PostgreSQL is unwell, no row is dead of that.
    async fn excuse(&self, rows: &[i64], error: &sqlx::Error) {
        let excused = outbox::excuse(&self.db, rows, &error.to_string()).await;
        excused.unwrap_or_else(|error| tracing::debug!(%error, "a hand-out could not be given back"));
    }

    /// Settles rows one by one: one that cannot be settled must not keep the others from it. Returns what was refused or is
    /// locked, if anything is. Without a connection, or while PostgreSQL is unwell, the next row would fare no better than this
    /// one, so that ends it.
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
        let confirmed = outbox::settle(&self.db, rows, &self.outside.channels()).await?;
        self.tell(&confirmed).await;
        Ok(())
    }

    async fn settle_alone(&self, row: i64) -> sqlx::Result<()> {
        let mut tx = self.db.begin().await?;
        tx.execute(LOCK_TIMEOUT).await?;
        let confirmed = outbox::settle(&mut *tx, &[row], &self.outside.channels()).await?;
        db::commit(tx).await?;
        self.tell(&confirmed).await;
        Ok(())
    }

    /// Tells of orders that were confirmed. They are, whatever becomes of the reading.
    async fn tell(&self, confirmed: &[i64]) {
        if confirmed.is_empty() {
            return;
        }
        self.outside.wake();
        match order::confirmed(&self.db, confirmed).await {
            Ok(orders) => orders.iter().for_each(log),
            Err(error) => {
                tracing::warn!(order_ids = ?confirmed, %error, "orders confirmed, but not read for the log");
            }
        }
    }
}

/// Whether PostgreSQL refused what a row says, or waited for it, so that another row may do better.
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
