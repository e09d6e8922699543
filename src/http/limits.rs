//! The limits of a server.

use std::time::Duration;

use super::AdmissionLimits;
use crate::config::CapacitySettings;

/// Timeouts of clients, and limits of concurrent work.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// How long a client may take for the head of its next request. This includes the silence between two requests.
    pub head: Duration,
    /// How long a client may read nothing of a response. Then the connection is closed.
    pub stall: Duration,
    /// How long a client may take for a response of more than 8 KiB, streams excepted.
    pub sending: Duration,
    /// Concurrent requests, and the memory of bodies and responses.
    pub admission: AdmissionLimits,
    /// How long a read may take. Then it is cancelled.
    pub reading: Duration,
    /// How long a client waits for the response to a write. The write continues after that.
    pub writing: Duration,
    /// How long a request waits for Redis to decide whether it is within a rate limit. After that it passes uncounted.
    pub rate_limit: Duration,
    /// How long a stopping server serves as before, except that it is not ready.
    pub delay: Duration,
    /// How long requests that are under way may take to finish after that.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            // Proxies keep an idle connection for a minute. A longer limit lets them close it first, so that they never send
            // a request over a connection that the server is closing.
            head: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            sending: Duration::from_mins(2),
            admission: AdmissionLimits::default(),
            // The statement timeout of PostgreSQL.
            reading: Duration::from_secs(30),
            writing: Duration::from_mins(1),
            rate_limit: Duration::from_millis(50),
            delay: Duration::ZERO,
            drain: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// The limits of the settings, for a shared pool of `pool_size` connections.
    pub fn new(settings: &CapacitySettings, pool_size: u32) -> Self {
        /// With statements of 30 ms, the last of these waits for two seconds. A wait for a connection ends after five.
        const WAITING_FOR_A_CONNECTION: u32 = 64;
        let count = |setting| usize::try_from(setting).unwrap_or(usize::MAX);
        let usual = Self::default();
        let requests = count(settings.max_requests_in_flight);
        let pooled = requests.min(count(pool_size.saturating_mul(WAITING_FOR_A_CONNECTION)));
        // One client leaves a quarter to the others.
        let share_of = |all: usize| (all - all.div_ceil(4)).max(1);
        Self {
            connections: count(settings.max_connections),
            admission: AdmissionLimits {
                requests,
                pooled,
                client_pooled: share_of(pooled),
                client_connections: share_of(count(pool_size)),
                body_bytes: count(settings.max_body_memory).saturating_mul(1024 * 1024),
                response_bytes: count(settings.max_response_memory).saturating_mul(1024 * 1024),
                ..usual.admission
            },
            delay: Duration::from_secs(settings.shutdown_delay.into()),
            ..usual
        }
    }
}
