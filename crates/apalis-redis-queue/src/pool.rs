//! Pooled connections to Redis for producers and monitoring.

use std::time::Duration;

use deadpool_redis::{Connection, Pool};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::QueueError;

/// Maximum wait for the pool and Redis together.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A pool that drops its connections when Redis stops accepting writes. Clones share it.
#[derive(Clone)]
pub(super) struct RedisPool(pub Pool);

impl RedisPool {
    /// Runs commands on a connection of the pool, for at most three seconds.
    pub(super) async fn run<R>(
        &self,
        exchange: impl AsyncFnOnce(&mut Connection) -> Result<R, QueueError>,
    ) -> Result<R, QueueError> {
        let exchange = async {
            let mut connection = self.0.get().await?;
            let result = exchange(&mut connection).await;
            if let Err(QueueError::Redis(error)) = &result
                && takes_no_writes(error)
            {
                // Recycling sends a `PING`, which a read-only Redis answers too. Older connections lead to the same server.
                drop(Connection::take(connection));
                self.0.retain(|_, _| false);
            }
            result
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| QueueError::TimedOut)?
    }
}

/// Whether Redis refused writes because of its role or state: a replica after a failover, or a server that still loads
/// its data. A new connection may reach another server.
pub(super) fn takes_no_writes(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly};
    match error.kind() {
        ErrorKind::Server(kind) => {
            [BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly].contains(&kind)
                // Before Redis 7, errors within a script are only in the text.
                || error.detail().is_some_and(|text| text.contains("-READONLY "))
        }
        _ => false,
    }
}
