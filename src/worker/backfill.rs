//! Looks at products that are older than what the search reads, once, apart from the queue: it needs no Redis.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::steps::overdue;
use crate::{db, product::backfill};

/// Between two portions, so that they take little from what else is done.
const PAUSE: Duration = Duration::from_millis(50);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);

/// Works through the products until all were looked at, or until `shutdown`.
pub(super) async fn fold_products(db: PgPool, shutdown: CancellationToken) {
    let mut portions = 0;
    loop {
        let portion = tokio::select! {
            portion = db::with_timeout(backfill::fold_portion(&db)) => portion,
            () = overdue(&shutdown) => return,
        };
        let pause = match portion {
            Ok(false) => break,
            Ok(true) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "products cannot be prepared for the search; trying again");
                RETRY
            }
        };
        portions += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
    if portions > 0 {
        tracing::info!("all products are prepared for the search");
    }
}
