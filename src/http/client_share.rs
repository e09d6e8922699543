//! One client's share of the shared pool, which leaves some requests and connections to the others.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::Semaphore;

use super::shared_map::SharedMap;
use redis_rate_limit::client_network;

/// The shares of all clients. A client is an IPv4 address or an IPv6 /64.
#[derive(Debug)]
pub(super) struct ClientShares {
    requests: usize,
    connections: usize,
    of_client: SharedMap<IpAddr, ClientShare>,
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
            of_client: SharedMap::new(),
        }
    }

    /// The share of a client.
    pub fn of(&self, client: IpAddr) -> Arc<ClientShare> {
        self.of_client.get(client_network(client), || ClientShare {
            requests: semaphore(self.requests),
            connections: semaphore(self.connections),
        })
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
}
