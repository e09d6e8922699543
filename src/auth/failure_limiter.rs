//! Limits failures per address, such as guesses of API keys.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use redis_rate_limit::client_key;

/// Maximum number of addresses in the table.
const MAX_ADDRESSES: usize = 10_000;

/// Recent failures by address; IPv6 addresses count by /64. Each process counts its own.
#[derive(Debug)]
pub struct FailureLimiter {
    limit: usize,
    window: Duration,
    of_address: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl FailureLimiter {
    /// Allows fewer than `limit` failures within `window`.
    pub fn new(limit: usize, window: Duration) -> Self {
        Self {
            limit,
            window,
            of_address: Mutex::default(),
        }
    }

    /// How long an address over the limit must wait.
    pub fn retry_after(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let of_address = self.lock();
        let failures = of_address.get(&client_key(address))?;
        let recent = failures.iter().filter(|at| now - **at < self.window).count();
        let oldest = failures.iter().find(|at| now - **at < self.window)?;
        (recent >= self.limit).then(|| self.window.saturating_sub(now - *oldest))
    }

    /// Counts a failure.
    pub fn count(&self, address: IpAddr, now: Instant) {
        let mut of_address = self.lock();
        if of_address.len() >= MAX_ADDRESSES {
            of_address.retain(|_, failures| failures.back().is_some_and(|at| now - *at < self.window));
            if of_address.len() >= MAX_ADDRESSES {
                // With that many addresses at once the limit cannot be kept per address.
                of_address.clear();
            }
        }
        let failures = of_address.entry(client_key(address)).or_default();
        if failures.len() >= self.limit {
            failures.pop_front();
        }
        failures.push_back(now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Instant>>> {
        self.of_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_over_the_limit_waits_until_its_oldest_failure_expires() {
        let failures = FailureLimiter::new(2, Duration::from_mins(1));
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        failures.count(one, began);
        assert_eq!(failures.retry_after(one, began), None);
        failures.count(one, after(10));
        assert_eq!(
            failures.retry_after(one, after(10)),
            Some(Duration::from_secs(50))
        );
        assert_eq!(failures.retry_after(other, after(10)), None);
        assert_eq!(failures.retry_after(one, after(60)), None);
    }

    #[test]
    fn number_of_remembered_addresses_is_bounded() {
        let failures = FailureLimiter::new(1, Duration::from_mins(1));
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 10 {
            failures.count(IpAddr::from(number.to_be_bytes()), Instant::now());
        }
        assert!(failures.lock().len() <= MAX_ADDRESSES);
    }
}
