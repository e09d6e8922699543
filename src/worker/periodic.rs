//! Periodic jobs. Each run is a job with a unique id, so that several schedulers cause one run.

use std::time::Duration;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::{
    db, delivery, idempotency,
    order::{maintenance, reservation},
    outbox, partitions,
};
use apalis_redis_queue::{JobContext, JobError};

/// Batch size of deletions of idempotency keys, so that each is short.
const KEY_BATCH: i64 = 2000;
/// How long delivered messages are kept.
const KEEP_DELIVERED: Duration = Duration::from_hours(30 * 24);
/// Batch size of deletions of deliveries.
const DELIVERY_BATCH: i64 = 5000;

/// How long reservations are kept after they ended.
const KEEP_RESERVATIONS: Duration = Duration::from_hours(30 * 24);
/// Batch size of deletions of reservations.
const RESERVATION_BATCH: i64 = 2000;

/// A periodic job. It is a wire format: variants may be added but not changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum PeriodicJob {
    /// Reject orders that were left undecided.
    RejectStuckOrders,
    /// Report on the orders of a day in UTC, and of earlier days without a report.
    DailyOrderReport {
        /// The day.
        day: NaiveDate,
    },
    /// Remove outbox rows whose orders are confirmed.
    CleanUpOutbox,
    /// Remove idempotency keys after a day.
    PurgeIdempotencyKeys,
    /// Remove old delivered messages.
    PurgeDeliveries,
    /// Free the units of expired reservations, and remove old reservations.
    ExpireReservations,
    /// Make partitions ahead of the ids, if the history is partitioned.
    MakePartitions,
}

pub(super) async fn run(db: PgPool, job: PeriodicJob, _: JobContext) -> Result<(), JobError> {
    let done = match job {
        PeriodicJob::RejectStuckOrders => reject_stuck_orders(&db).await,
        PeriodicJob::DailyOrderReport { day } => report_up_to(&db, day).await,
        PeriodicJob::CleanUpOutbox => clean_up_outbox(&db).await,
        PeriodicJob::PurgeIdempotencyKeys => purge_idempotency_keys(&db).await,
        PeriodicJob::PurgeDeliveries => purge_deliveries(&db).await,
        PeriodicJob::ExpireReservations => expire_reservations(&db).await,
        PeriodicJob::MakePartitions => make_partitions(&db).await,
    };
    done.inspect_err(db::note).map_err(JobError::retry)
}

async fn reject_stuck_orders(db: &PgPool) -> sqlx::Result<()> {
    for order_id in maintenance::reject_stuck(db).await? {
        tracing::warn!(order_id, "order rejected: it was left undecided");
    }
    Ok(())
}

async fn report_up_to(db: &PgPool, day: NaiveDate) -> sqlx::Result<()> {
    for day in maintenance::unreported(db, day).await? {
        report(db, day).await?;
    }
    Ok(())
}

async fn report(db: &PgPool, day: NaiveDate) -> sqlx::Result<()> {
    if let Some(report) = maintenance::write_report(db, day).await? {
        tracing::info!(
            %day,
            total_orders = report.total_orders,
            confirmed_orders = report.confirmed_orders,
            rejected_orders = report.rejected_orders,
            pending_orders = report.pending_orders,
            total_revenue = %report.total_revenue,
            "daily order report"
        );
    }
    Ok(())
}

async fn clean_up_outbox(db: &PgPool) -> sqlx::Result<()> {
    let rows = outbox::clean_up(db).await?;
    if rows > 0 {
        tracing::info!(rows, "outbox rows removed whose orders had been confirmed");
    }
    Ok(())
}

async fn purge_idempotency_keys(db: &PgPool) -> sqlx::Result<()> {
    let keys = in_batches(KEY_BATCH, |limit| idempotency::purge(db, limit)).await?;
    if keys > 0 {
        tracing::info!(keys, "idempotency keys forgotten after a day");
    }
    Ok(())
}

async fn purge_deliveries(db: &PgPool) -> sqlx::Result<()> {
    let rows = in_batches(DELIVERY_BATCH, |limit| delivery::purge(db, KEEP_DELIVERED, limit)).await?;
    if rows > 0 {
        tracing::info!(rows, "deliveries removed that arrived long ago");
    }
    Ok(())
}

async fn expire_reservations(db: &PgPool) -> sqlx::Result<()> {
    let items = reservation::sweep(db).await?;
    let removed = in_batches(RESERVATION_BATCH, |limit| {
        reservation::purge(db, KEEP_RESERVATIONS, limit)
    });
    let removed = removed.await?;
    if items > 0 || removed > 0 {
        tracing::info!(items, removed, "expired reservations freed, and old ones removed");
    }
    Ok(())
}

async fn make_partitions(db: &PgPool) -> sqlx::Result<()> {
    for partition in partitions::ensure(db).await? {
        tracing::info!(partition, "partition made");
    }
    Ok(())
}

/// Deletes batches of `limit` until one is smaller. Returns the total.
async fn in_batches<F: Future<Output = sqlx::Result<u64>>>(
    limit: i64,
    batch: impl Fn(i64) -> F,
) -> sqlx::Result<u64> {
    let mut deleted = 0;
    loop {
        let rows = batch(limit).await?;
        deleted += rows;
        if rows < limit.unsigned_abs() {
            return Ok(deleted);
        }
    }
}
