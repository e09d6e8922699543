//! One caller's share of the shared pool: whatever a caller asks for, some connections and places are left to others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use redis_rate_limit::client_network;

/// Callers at which the table is first swept.
const SWEEP_AT: usize = 1024;

/// The shares of all callers. A caller is an IPv4 address or an IPv6 /64.
#[derive(Debug)]
pub(super) struct Shares {
    places: usize,
    connections: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    of_caller: HashMap<IpAddr, Arc<Share>>,
    sweep_at: usize,
}

/// What one caller may take.
#[derive(Debug)]
pub(super) struct Share {
    places: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Shares {
    /// Shares of so many requests that need the pool, and so many of them at work.
    pub fn new(places: usize, connections: usize) -> Self {
        Self {
            places: places.clamp(1, Semaphore::MAX_PERMITS),
            connections: connections.clamp(1, Semaphore::MAX_PERMITS),
            table: Mutex::new(Table {
                of_caller: HashMap::new(),
                sweep_at: SWEEP_AT,
            }),
        }
    }

    /// The share of a caller. It is forgotten when none of it is taken.
    pub fn of(&self, caller: IpAddr) -> Arc<Share> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.of_caller.len() >= table.sweep_at {
            table.of_caller.retain(|_, share| Arc::strong_count(share) > 1);
            table.sweep_at = SWEEP_AT.max(table.of_caller.len() * 2);
        }
        let share = table.of_caller.entry(client_network(caller)).or_insert_with(|| {
            Arc::new(Share {
                places: Arc::new(Semaphore::new(self.places)),
                connections: Arc::new(Semaphore::new(self.connections)),
            })
        });
        share.clone()
    }
}

impl Share {
    /// A place for one request, if the caller has not taken all of its share.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Waits until the request may use a connection.
    pub async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.connections.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_shares_of_their_own() {
        let shares = Shares::new(1, 1);
        let [one, near, other] =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|text| text.parse().unwrap());
        let place = shares.of(one).place();
        assert!(place.is_some());
        assert!(shares.of(near).place().is_none());
        assert!(shares.of(other).place().is_some());
        drop(place);
        assert!(shares.of(near).place().is_some());
    }

    #[test]
    fn shares_that_nobody_uses_are_forgotten() {
        let shares = Shares::new(1, 1);
        let used = shares.of(IpAddr::from([192, 0, 2, 1]));
        for number in 0..u32::try_from(SWEEP_AT).unwrap() * 3 {
            shares.of(IpAddr::from(number.to_be_bytes()));
        }
        let table = shares.table.lock().unwrap();
        assert!(table.of_caller.len() <= SWEEP_AT, "{}", table.of_caller.len());
        assert!(table.of_caller.values().any(|share| Arc::ptr_eq(share, &used)));
    }
}
