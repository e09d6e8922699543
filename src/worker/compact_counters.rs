//! Compacts the counters. It runs outside the queue, so it needs no Redis.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::poll::shutdown_timeout;
use crate::{counters, db};

/// Time between compactions. A busy database writes a few thousand rows meanwhile, which sum up in a millisecond.
const COMPACT_EVERY: Duration = Duration::from_secs(2);

/// Compacts the counters until `shutdown`, and continues after failures.
pub(super) async fn run(db: PgPool, shutdown: CancellationToken) {
    let mut failing = false;
    while shutdown.run_until_cancelled(sleep(COMPACT_EVERY)).await.is_some() {
        let compacted = tokio::select! {
            compacted = counters::compact(&db) => compacted,
            () = shutdown_timeout(&shutdown) => return,
        };
        let compacted = compacted.inspect_err(db::note);
        let was_failing = std::mem::replace(&mut failing, compacted.is_err());
        match compacted {
            Ok(_) if was_failing => tracing::info!("counters are compacted again"),
            Ok(rows) => tracing::debug!(rows, "counters compacted"),
            Err(error) if was_failing => tracing::debug!(%error, "counters still cannot be compacted"),
            Err(error) => tracing::warn!(%error, "counters cannot be compacted"),
        }
    }
}
