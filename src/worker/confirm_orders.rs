//! The job that confirms orders: it writes their confirmations and logs them. Running it again confirms nothing twice.

use sqlx::PgPool;

use super::{Outside, failed};
use crate::{
    database,
    order::{self, ConfirmedOrder},
    outbox::{self, ConfirmOrders},
    queue::{JobContext, JobError},
};

/// Where confirmations are written, and who is told of them.
#[derive(Clone)]
pub(super) struct Confirm {
    pub db: PgPool,
    pub outside: Outside,
}

/// Orders whose confirmation PostgreSQL refused to take.
#[derive(Debug, thiserror::Error)]
#[error("orders {order_ids:?} not confirmed: {error}")]
struct Refused {
    order_ids: Vec<i64>,
    error: sqlx::Error,
}

impl Confirm {
    pub async fn run(self, job: ConfirmOrders, context: JobContext) -> Result<(), JobError> {
        let owing = job.outbox_ids().map_err(JobError::give_up)?;
        let error = match self.settle(owing).await {
            Ok(()) => return Ok(()),
            Err(error) if is_of_the_row(&error) => match self.settle_each(owing).await {
                Ok(None) => return Ok(()),
                Ok(Some(refused)) => return failed(&context, refused),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if database::is_passing(&error) && context.attempt >= context.max_attempts {
            // However long PostgreSQL is unwell, no row is dead of that.
            let excused = outbox::excuse(&self.db, owing, &error.to_string()).await;
            excused.unwrap_or_else(|error| tracing::debug!(%error, "a hand-out could not be given back"));
        }
        failed(&context, error)
    }

    /// Settles rows one by one: one that cannot be settled must not keep the others from it. Returns what was refused, if
    /// anything was. Without a connection, or while PostgreSQL is unwell, the next row would fare no better than this one,
    /// so that ends it.
    async fn settle_each(&self, rows: &[i64]) -> sqlx::Result<Option<Refused>> {
        let mut order_ids = Vec::new();
        let mut last = None;
        for row in rows {
            match self.settle(&[*row]).await {
                Ok(()) => {}
                Err(error) if is_of_the_row(&error) => {
                    order_ids.extend(outbox::note_failure(&self.db, *row, &error.to_string()).await?);
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(last.map(|error| Refused { order_ids, error }))
    }

    async fn settle(&self, rows: &[i64]) -> sqlx::Result<()> {
        let confirmed = outbox::settle(&self.db, rows, &self.outside.channels()).await?;
        if confirmed.is_empty() {
            return Ok(());
        }
        self.outside.wake();
        // They are confirmed, whatever becomes of the reading.
        match order::confirmed(&self.db, &confirmed).await {
            Ok(orders) => orders.iter().for_each(log),
            Err(error) => {
                tracing::warn!(order_ids = ?confirmed, %error, "orders confirmed, but not read for the log");
            }
        }
        Ok(())
    }
}

/// Whether PostgreSQL refused what a row says, so that another row may do better.
fn is_of_the_row(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_)) && !database::is_passing(error)
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
