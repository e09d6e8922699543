//! Recent refusals of logins by PostgreSQL, repeated from memory without a connection.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::login_throttle::Throttle;

/// How long a refusal is repeated from memory. Then PostgreSQL decides again, because a login on another server may have
/// ended the throttle.
const RECHECK: Duration = Duration::from_secs(10);
/// Maximum number of addresses, pairs and usernames in the table.
const MAX_ENTRIES: usize = 10_000;

/// Refusals in process memory, each for at most [`RECHECK`]. PostgreSQL decides; the cache repeats its decisions.
#[derive(Debug, Default)]
pub struct ThrottleCache(Mutex<HashMap<Key, Entry>>);

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Key {
    /// All logins from an address.
    Address(String),
    /// Logins to a username from an address.
    Pair(String, String),
    /// Logins to a username, except from the known addresses of the entry.
    Username(String),
}

#[derive(Debug)]
struct Entry {
    /// When the next attempt is allowed.
    until: Instant,
    recheck_at: Instant,
    known_addresses: Vec<String>,
}

impl ThrottleCache {
    /// The seconds that an address must wait, for any username.
    pub fn address_wait(&self, address: &str, now: Instant) -> Option<i64> {
        let entries = self.lock();
        let entry = entries.get(&Key::Address(address.to_owned()))?;
        entry.wait(now)
    }

    /// The seconds that logins to a username from an address must wait.
    pub fn wait(&self, username: &str, address: &str, now: Instant) -> Option<i64> {
        let of_address = self.address_wait(address, now);
        let entries = self.lock();
        let pair = entries.get(&Key::Pair(username.to_owned(), address.to_owned()));
        let of_pair = pair.and_then(|entry| entry.wait(now));
        let everywhere = entries.get(&Key::Username(username.to_owned()));
        let of_username = everywhere
            .filter(|entry| !entry.known_addresses.iter().any(|known| known == address))
            .and_then(|entry| entry.wait(now));
        of_address.max(of_pair).max(of_username)
    }

    /// Stores a refusal of PostgreSQL.
    pub fn store(&self, username: &str, address: &str, throttle: Throttle, now: Instant) {
        let pair = Key::Pair(username.to_owned(), address.to_owned());
        let mut entries = self.lock();
        let mut insert = |key, seconds: Option<i64>, known_addresses| {
            let Some(seconds) = seconds else { return };
            if entries.len() >= MAX_ENTRIES {
                entries.retain(|_, entry| entry.recheck_at > now);
            }
            // With a full table PostgreSQL decides. The answer is the same.
            if entries.len() < MAX_ENTRIES {
                let left = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
                let entry = Entry {
                    until: now + left,
                    recheck_at: now + left.min(RECHECK),
                    known_addresses,
                };
                entries.insert(key, entry);
            }
        };
        insert(Key::Address(address.to_owned()), throttle.address, Vec::new());
        insert(pair, throttle.pair, Vec::new());
        if let Some(known_addresses) = throttle.known_addresses {
            insert(
                Key::Username(username.to_owned()),
                throttle.username,
                known_addresses,
            );
        }
    }

    /// Removes the refusals of a username and an address after a successful login.
    pub fn remove(&self, username: &str, address: &str) {
        let mut entries = self.lock();
        entries.remove(&Key::Address(address.to_owned()));
        entries.remove(&Key::Pair(username.to_owned(), address.to_owned()));
        entries.remove(&Key::Username(username.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn wait(&self, now: Instant) -> Option<i64> {
        let left = self.until.saturating_duration_since(now);
        (now < self.recheck_at).then(|| i64::try_from(left.as_secs() + 1).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(address: Option<i64>, pair: Option<i64>, username: Option<i64>) -> Throttle {
        Throttle {
            address,
            pair,
            username,
            known_addresses: Some(vec!["192.0.2.9".to_owned()]),
        }
    }

    #[test]
    fn refusal_is_repeated_until_the_recheck() {
        let (cache, now) = (ThrottleCache::default(), Instant::now());
        cache.store("ada", "192.0.2.1", throttle(Some(900), None, None), now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cache.address_wait("192.0.2.1", after(1)), Some(900));
        assert_eq!(cache.wait("eve", "192.0.2.1", after(1)), Some(900));
        assert_eq!(cache.address_wait("192.0.2.2", after(1)), None);
        assert_eq!(cache.address_wait("192.0.2.1", now + RECHECK), None);
        cache.store("ada", "192.0.2.1", throttle(Some(2), None, None), now);
        assert_eq!(cache.address_wait("192.0.2.1", after(2)), None);
    }

    #[test]
    fn each_kind_of_refusal_applies_to_its_key() {
        let (cache, now) = (ThrottleCache::default(), Instant::now());
        cache.store("ada", "192.0.2.1", throttle(None, Some(60), None), now);
        assert!(cache.wait("ada", "192.0.2.1", now).is_some());
        assert_eq!(cache.wait("eve", "192.0.2.1", now), None);
        assert_eq!(cache.wait("ada", "192.0.2.2", now), None);
        cache.store("ada", "192.0.2.3", throttle(None, None, Some(60)), now);
        assert!(cache.wait("ada", "192.0.2.4", now).is_some());
        assert_eq!(cache.wait("ada", "192.0.2.9", now), None, "the address is known");
        cache.remove("ada", "192.0.2.1");
        assert_eq!(cache.wait("ada", "192.0.2.1", now), None);
    }

    #[test]
    fn table_is_bounded() {
        let (cache, now) = (ThrottleCache::default(), Instant::now());
        for number in 0..MAX_ENTRIES + 10 {
            cache.store(
                &number.to_string(),
                "192.0.2.1",
                throttle(None, Some(60), None),
                now,
            );
        }
        assert_eq!(cache.lock().len(), MAX_ENTRIES);
        let later = now + RECHECK;
        cache.store("ada", "192.0.2.1", throttle(None, Some(60), None), later);
        assert!(cache.wait("ada", "192.0.2.1", later).is_some());
    }
}
