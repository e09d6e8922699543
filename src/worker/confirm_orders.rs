//! The job that confirms orders: it writes their confirmations and logs them. Running it again confirms nothing twice.

use sqlx::PgPool;

use crate::{
    order,
    outbox::{self, ConfirmOrders},
    queue::{JobContext, JobError},
};

pub(super) async fn run(db: PgPool, job: ConfirmOrders, _: JobContext) -> Result<(), JobError> {
    let owing = job.outbox_ids().map_err(JobError::give_up)?;
    let confirmed = outbox::settle(&db, owing).await.map_err(JobError::retry)?;
    for order in order::confirmed(&db, &confirmed).await.map_err(JobError::retry)? {
        tracing::info!(
            order_id = order.id,
            store = order.store_name,
            items = order.item_count,
            total_amount = %order.total_amount,
            "order confirmation sent"
        );
    }
    Ok(())
}
