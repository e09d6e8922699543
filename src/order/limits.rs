//! Limits of the placement.

use std::time::Duration;

/// Limits of the lanes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lanes: transactions at a time.
    pub lanes: usize,
    /// Orders in a transaction.
    pub batch_size: usize,
    /// Orders that wait in a lane; those of one store may be half of them.
    pub queue_size: usize,
    /// How long PostgreSQL is asked for the outcome of a commit that was not acknowledged.
    pub commit_check_timeout: Duration,
    /// How long an order waits for stock that another transaction has locked, after the lock timeout.
    pub lock_wait_timeout: Duration,
}

impl Limits {
    /// The defaults, for this number of lanes.
    pub fn with_lanes(lanes: usize) -> Self {
        Self {
            lanes,
            batch_size: 128,
            queue_size: 4096,
            // About as long as PostgreSQL takes to start again after a crash.
            commit_check_timeout: Duration::from_secs(10),
            lock_wait_timeout: Duration::from_secs(8),
        }
    }
}
