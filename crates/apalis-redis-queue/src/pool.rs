//! Pooled connections to Redis, for who pushes jobs and looks after them.

use std::time::Duration;

use deadpool_redis::{Connection, Pool};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::QueueError;

/// Longest wait for the pool and Redis together.
const PATIENCE: Duration = Duration::from_secs(3);

/// A pool whose connections do not stay with a Redis that takes no writes any more. Clones share it.
#[derive(Clone)]
pub(super) struct RedisPool(pub Pool);

impl RedisPool {
    /// Runs an exchange with Redis on a connection of the pool. Waits for three seconds at most.
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
                // Recycling asks for a `PING` only, which every Redis answers. What was opened before leads there too.
                drop(Connection::take(connection));
                self.0.retain(|_, _| false);
            }
            result
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| QueueError::TimedOut)?
    }
}

/// Whether Redis refused for what it is at this time: a replica, as after a failover, or a server that has not got its data
/// yet. A new connection may lead to another one.
pub(super) fn takes_no_writes(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly};
    match error.kind() {
        ErrorKind::Server(kind) => {
            [BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly].contains(&kind)
                // Before Redis 7, what fails within a script is told in the text.
                || error.detail().is_some_and(|text| text.contains("-READONLY "))
        }
        _ => false,
    }
}
