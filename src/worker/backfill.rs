//! Prepares products that are older than the search index, once. It runs outside the queue, so it needs no Redis.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::poll::shutdown_timeout;
use crate::{db, product::backfill};

/// Pause between batches, so that they slow other work little.
const PAUSE: Duration = Duration::from_millis(50);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(10);

/// Prepares all products, or stops at `shutdown`.
pub(super) async fn fold_products(db: PgPool, shutdown: CancellationToken) {
    let mut portions = 0;
    loop {
        let portion = tokio::select! {
            portion = db::with_timeout(backfill::fold_portion(&db)) => portion,
            () = shutdown_timeout(&shutdown) => return,
        };
        let pause = match portion {
            Ok(false) => break,
            Ok(true) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "products cannot be prepared for the search; retrying");
                RETRY
            }
        };
        portions += 1;
        if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
    if portions > 0 {
        tracing::info!("all products are prepared for the search");
    }
}
