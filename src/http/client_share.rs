//! One client's share of the shared pool, which leaves some requests and connections to the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use redis_rate_limit::client_network;

/// Clients at which the table is first swept.
const SWEEP_AT: usize = 1024;

/// The shares of all clients. A client is an IPv4 address or an IPv6 /64.
#[derive(Debug)]
pub(super) struct ClientShares {
    requests: usize,
    connections: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    of_client: HashMap<IpAddr, Arc<ClientShare>>,
    sweep_at: usize,
}

/// What one client may use.
#[derive(Debug)]
pub(super) struct ClientShare {
    /// Requests that need the pool.
    pub requests: Arc<Semaphore>,
    /// Those of them that may have a connection.
    pub connections: Arc<Semaphore>,
}

impl ClientShares {
    /// Shares of `requests` that need the pool, of which `connections` may have one.
    pub fn new(requests: usize, connections: usize) -> Self {
        Self {
            requests: requests.max(1),
            connections: connections.max(1),
            table: Mutex::new(Table {
                of_client: HashMap::new(),
                sweep_at: SWEEP_AT,
            }),
        }
    }

    /// The share of a client. It is forgotten when none of it is used.
    pub fn of(&self, client: IpAddr) -> Arc<ClientShare> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.of_client.len() >= table.sweep_at {
            table.of_client.retain(|_, share| Arc::strong_count(share) > 1);
            table.sweep_at = SWEEP_AT.max(table.of_client.len() * 2);
        }
        let share = table.of_client.entry(client_network(client)).or_insert_with(|| {
            Arc::new(ClientShare {
                requests: semaphore(self.requests),
                connections: semaphore(self.connections),
            })
        });
        share.clone()
    }
}

/// A semaphore with this number of permits.
pub(super) fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_shares_of_their_own() {
        let shares = ClientShares::new(1, 1);
        let [one, near, other] =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|text| text.parse().unwrap());
        let request = |client| shares.of(client).requests.clone().try_acquire_owned().ok();
        let used = request(one);
        assert!(used.is_some());
        assert!(request(near).is_none());
        assert!(request(other).is_some());
        drop(used);
        assert!(request(near).is_some());
    }

    #[test]
    fn unused_shares_are_forgotten() {
        let shares = ClientShares::new(1, 1);
        let used = shares.of(IpAddr::from([192, 0, 2, 1]));
        for number in 0..u32::try_from(SWEEP_AT).unwrap() * 3 {
            shares.of(IpAddr::from(number.to_be_bytes()));
        }
        let table = shares.table.lock().unwrap();
        assert!(table.of_client.len() <= SWEEP_AT, "{}", table.of_client.len());
        assert!(table.of_client.values().any(|share| Arc::ptr_eq(share, &used)));
    }
}
