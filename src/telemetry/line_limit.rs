//! Limits log lines that clients can cause to a number per minute and address, and counts the rest.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::keyed_limiter::KeyedLimiter;
use redis_rate_limit::client_network;

/// Decides which lines of one kind are written. Make it a `static` beside the line:
///
/// ```ignore
/// static REFUSALS: LineLimit = LineLimit::new(10);
/// if let Some(left_out) = REFUSALS.admit(address) {
///     tracing::warn!(left_out, "request refused");
/// }
/// ```
#[derive(Debug)]
pub struct LineLimit {
    lines: KeyedLimiter<IpAddr>,
    left_out: AtomicU64,
}

/// Addresses with a limit of their own, for each kind of line.
const MAX_ADDRESSES: usize = 1000;

impl LineLimit {
    /// Allows each address `per_address` lines at once, and then as many a minute, evenly.
    pub const fn new(per_address: u32) -> Self {
        Self {
            lines: KeyedLimiter::new(per_address, Duration::from_mins(1), MAX_ADDRESSES),
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether to write a line that `address` causes: if so, returns how many lines of this kind were left out since the last
    /// one. Lines without an address share one limit, as do the addresses of an IPv6 /64.
    pub fn admit(&self, address: Option<IpAddr>) -> Option<u64> {
        if self
            .lines
            .admit(address.map(client_network), Instant::now())
            .is_ok()
        {
            Some(self.left_out.swap(0, Ordering::Relaxed))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let limit = LineLimit::new(2);
        let [one, other, near] = ["2001:db8::1", "192.0.2.2", "2001:db8::2"].map(|text| text.parse().ok());
        assert_eq!(limit.admit(one), Some(0));
        assert_eq!(limit.admit(near), Some(0));
        for _ in 0..5 {
            assert_eq!(limit.admit(one), None);
        }
        assert_eq!(limit.admit(other), Some(5), "another address has its own limit");
        assert_eq!(limit.admit(None), Some(0));
    }
}
