//! What a group of routes needs from the middleware. A router declares it, so that no middleware compares paths.

use axum::extract::Request;

use crate::http::{DryRun, Work};

/// What the requests of a group of routes need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteClass {
    /// A connection of the shared pool.
    Pooled,
    /// Reads need a connection of the shared pool. Writes wait in a queue of their own, which retries them itself.
    QueuedWrites,
    /// An answer under any load and for any host: orchestrators ask by address.
    Operators,
}

impl RouteClass {
    /// What a request waits for; `None` if it is never refused under load. A dry run does not enter the queue.
    pub(super) fn work(self, request: &Request) -> Option<Work> {
        let is_queued = || !request.method().is_safe() && !DryRun::of(request.uri().query()).0;
        match self {
            Self::Operators => None,
            Self::QueuedWrites if is_queued() => Some(Work::Queued),
            Self::Pooled | Self::QueuedWrites => Some(Work::Pooled),
        }
    }
}
