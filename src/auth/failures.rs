//! Counts what fails from one address, so that guessing ends soon.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use redis_rate_limit::client_key;

/// Addresses that are remembered, at most.
const MOST_ADDRESSES: usize = 10_000;

/// Failures of the last while, by address; an IPv6 one counts with its /64. They are counted in this process: a server beside
/// it counts its own.
#[derive(Debug)]
pub struct Failures {
    limit: usize,
    window: Duration,
    of_address: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl Failures {
    /// Takes `limit` failures within `window` for too many.
    #[must_use]
    pub fn new(limit: usize, window: Duration) -> Self {
        Self {
            limit,
            window,
            of_address: Mutex::default(),
        }
    }

    /// How long an address that has failed too often has to wait.
    #[must_use]
    pub fn must_wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let of_address = self.lock();
        let failures = of_address.get(&client_key(address))?;
        let recent = failures.iter().filter(|at| now - **at < self.window).count();
        let oldest = failures.iter().find(|at| now - **at < self.window)?;
        (recent >= self.limit).then(|| self.window.saturating_sub(now - *oldest))
    }

    /// Counts a failure.
    pub fn count(&self, address: IpAddr, now: Instant) {
        let mut of_address = self.lock();
        if of_address.len() >= MOST_ADDRESSES {
            of_address.retain(|_, failures| failures.back().is_some_and(|at| now - *at < self.window));
            if of_address.len() >= MOST_ADDRESSES {
                // So many at a time: nobody can be told from the others any more.
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
    fn an_address_that_fails_too_often_waits_until_its_oldest_failure_is_over() {
        let failures = Failures::new(2, Duration::from_mins(1));
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        failures.count(one, began);
        assert_eq!(failures.must_wait(one, began), None);
        failures.count(one, after(10));
        assert_eq!(failures.must_wait(one, after(10)), Some(Duration::from_secs(50)));
        assert_eq!(failures.must_wait(other, after(10)), None);
        assert_eq!(failures.must_wait(one, after(60)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let failures = Failures::new(1, Duration::from_mins(1));
        for number in 0..u32::try_from(MOST_ADDRESSES).unwrap() + 10 {
            failures.count(IpAddr::from(number.to_be_bytes()), Instant::now());
        }
        assert!(failures.lock().len() <= MOST_ADDRESSES);
    }
}
