//! Logins that PostgreSQL refused lately: the server refuses their like from memory, without a connection.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::attempt::Throttle;

/// How long a refusal is repeated from memory. Then PostgreSQL is asked again: a login that succeeded on another server may
/// have ended the throttle.
const RECHECK: Duration = Duration::from_secs(10);
/// Addresses, pairs and usernames in the table together.
const MOST_ENTRIES: usize = 10_000;

/// Throttles in process memory, each for [`RECHECK`] at most. PostgreSQL decides; this only repeats what it decided.
#[derive(Debug, Default)]
pub struct ThrottleCache(Mutex<HashMap<Key, Entry>>);

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Key {
    /// All logins from an address.
    Address(String),
    /// Logins to a username from an address.
    Pair(String, String),
    /// Logins to a username, but from the addresses of its entry.
    Username(String),
}

#[derive(Debug)]
struct Entry {
    /// When one more attempt may follow.
    until: Instant,
    recheck_at: Instant,
    known_addresses: Vec<String>,
}

impl ThrottleCache {
    /// The seconds for which an address has to wait, whatever the username.
    #[must_use]
    pub fn address_wait(&self, address: &str, now: Instant) -> Option<i64> {
        let entries = self.lock();
        let entry = entries.get(&Key::Address(address.to_owned()))?;
        entry.wait(now)
    }

    /// The seconds for which logins to a username from an address have to wait.
    #[must_use]
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

    /// Keeps a refusal of PostgreSQL.
    pub fn keep(&self, username: &str, address: &str, throttle: Throttle, now: Instant) {
        let pair = Key::Pair(username.to_owned(), address.to_owned());
        let mut entries = self.lock();
        let mut insert = |key, seconds: Option<i64>, known_addresses| {
            let Some(seconds) = seconds else { return };
            if entries.len() >= MOST_ENTRIES {
                entries.retain(|_, entry| entry.recheck_at > now);
            }
            // A full table costs a question to PostgreSQL, and changes no answer.
            if entries.len() < MOST_ENTRIES {
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

    /// Forgets what holds back a username from an address: it has logged in.
    pub fn forget(&self, username: &str, address: &str) {
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
    fn a_refusal_is_repeated_until_postgresql_is_asked_again() {
        let (cache, now) = (ThrottleCache::default(), Instant::now());
        cache.keep("ada", "192.0.2.1", throttle(Some(900), None, None), now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cache.address_wait("192.0.2.1", after(1)), Some(900));
        assert_eq!(cache.wait("eve", "192.0.2.1", after(1)), Some(900));
        assert_eq!(cache.address_wait("192.0.2.2", after(1)), None);
        assert_eq!(cache.address_wait("192.0.2.1", now + RECHECK), None);
        cache.keep("ada", "192.0.2.1", throttle(Some(2), None, None), now);
        assert_eq!(cache.address_wait("192.0.2.1", after(2)), None);
    }

    #[test]
    fn each_kind_of_throttle_holds_back_what_it_is_about() {
        let (cache, now) = (ThrottleCache::default(), Instant::now());
        cache.keep("ada", "192.0.2.1", throttle(None, Some(60), None), now);
        assert!(cache.wait("ada", "192.0.2.1", now).is_some());
        assert_eq!(cache.wait("eve", "192.0.2.1", now), None);
        assert_eq!(cache.wait("ada", "192.0.2.2", now), None);
        cache.keep("ada", "192.0.2.3", throttle(None, None, Some(60)), now);
        assert!(cache.wait("ada", "192.0.2.4", now).is_some());
        assert_eq!(
            cache.wait("ada", "192.0.2.9", now),
            None,
            "its owner is known there"
        );
        cache.forget("ada", "192.0.2.1");
        assert_eq!(cache.wait("ada", "192.0.2.1", now), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let (cache, now) = (ThrottleCache::default(), Instant::now());
        for number in 0..MOST_ENTRIES + 10 {
            cache.keep(
                &number.to_string(),
                "192.0.2.1",
                throttle(None, Some(60), None),
                now,
            );
        }
        assert_eq!(cache.lock().len(), MOST_ENTRIES);
        let later = now + RECHECK;
        cache.keep("ada", "192.0.2.1", throttle(None, Some(60), None), later);
        assert!(cache.wait("ada", "192.0.2.1", later).is_some());
    }
}
