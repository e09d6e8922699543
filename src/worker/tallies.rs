//! Keeps the tallies short, apart from the queue: it needs no Redis.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::steps::overdue;
use crate::{counters, db};

/// Between two compactions. A busy database gathers some thousand rows meanwhile, which are summed up in a millisecond.
const COMPACT_EVERY: Duration = Duration::from_secs(2);

/// Compacts the tallies until `shutdown`, whatever fails meanwhile.
pub(super) async fn keep_short(db: PgPool, shutdown: CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(COMPACT_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        let compacted = tokio::select! {
            compacted = counters::compact(&db) => compacted,
            () = overdue(&shutdown) => return,
        };
        let compacted = compacted.inspect_err(db::note);
        let was_failing = std::mem::replace(&mut failing, compacted.is_err());
        match compacted {
            Ok(_) if was_failing => tracing::info!("tallies are being compacted again"),
            Ok(rows) => tracing::debug!(rows, "tallies compacted"),
            Err(error) if was_failing => tracing::debug!(%error, "tallies still cannot be compacted"),
            Err(error) => tracing::warn!(%error, "tallies cannot be compacted"),
        }
    }
}
