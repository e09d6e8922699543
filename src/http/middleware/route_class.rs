//! What a group of routes needs from the middleware. A router declares it, so that no middleware compares paths.

use crate::http::Work;

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
    /// What a request waits for; `None` if it is never refused under load.
    pub(super) fn work(self, is_write: bool) -> Option<Work> {
        match self {
            Self::Operators => None,
            Self::QueuedWrites if is_write => Some(Work::Queued),
            Self::Pooled | Self::QueuedWrites => Some(Work::Pooled),
        }
    }
}
