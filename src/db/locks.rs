//! Changes of tables that wait only briefly for their locks: later statements on a table queue behind a waiting change.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::sleep;

use super::{has_code, is_lock_timeout};

/// How long a change waits for a lock: longer than PostgreSQL takes to cancel an autovacuum that holds it.
pub(crate) const LOCK_TIMEOUT: &str = "set local lock_timeout = '2s'";
/// The first and the longest pause before a change that did not get its lock is retried. Pauses double.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Retries `change` after a lock timeout or a deadlock. Writers continue during the pauses.
pub(crate) async fn retry_locked<T>(
    connection: &mut PgConnection,
    name: &str,
    mut change: impl AsyncFnMut(&mut PgConnection) -> sqlx::Result<T>,
) -> sqlx::Result<T> {
    const DEADLOCK: &str = "40P01";
    let (mut pause, longest) = PAUSES;
    loop {
        match change(connection).await {
            Err(error) if is_lock_timeout(&error) || has_code(&error, DEADLOCK) => tracing::warn!(
                %error,
                "{name} waits for a lock that another transaction holds: trying again in {} s",
                pause.as_secs()
            ),
            done => return done,
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}
