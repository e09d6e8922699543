//! Limits events by key, in process memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The usual number of keys with a limit of their own. Further keys share one.
pub const MAX_KEYS: usize = 10_000;
/// A full table is swept at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Allows each key `events` events at once, and then one every `window / events`: the generic cell rate algorithm.
#[derive(Debug)]
pub struct KeyedLimiter<K> {
    events: u32,
    window: Duration,
    max_keys: usize,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    /// When the events of a key will have passed, if they pass evenly. `None` stands for keys beyond the limit of keys.
    busy_until: BTreeMap<Option<K>, Instant>,
    swept_at: Option<Instant>,
}

impl<K: Copy + Ord> KeyedLimiter<K> {
    /// A limit of `events`, at least 1, within `window`. `max_keys` bounds the memory.
    pub const fn new(events: u32, window: Duration, max_keys: usize) -> Self {
        let table = Table {
            busy_until: BTreeMap::new(),
            swept_at: None,
        };
        Self {
            events,
            window,
            max_keys,
            table: Mutex::new(table),
        }
    }

    /// Counts an event. Over the limit, the event does not count, and the error is the time until the next is allowed.
    pub fn admit(&self, key: Option<K>, now: Instant) -> Result<(), Duration> {
        let mut table = self.lock();
        let key = key.filter(|key| table.has_room_for(*key, now, self.max_keys));
        let busy_until = table.busy_until.entry(key).or_insert(now);
        let next = (*busy_until).max(now) + self.window / self.events;
        let wait = next.saturating_duration_since(now + self.window);
        if !wait.is_zero() {
            return Err(wait);
        }
        *busy_until = next;
        Ok(())
    }

    /// Whether a key, or the limit that it shares, is exceeded.
    pub fn is_exceeded(&self, key: K, now: Instant) -> bool {
        let table = self.lock();
        let is_shared = !table.busy_until.contains_key(&Some(key)) && table.busy_until.len() >= self.max_keys;
        let key = if is_shared { None } else { Some(key) };
        let busy_until = table.busy_until.get(&key).copied();
        busy_until.is_some_and(|at| at + self.window / self.events > now + self.window)
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Ord> Table<K> {
    /// Whether a key has an entry or may get one.
    fn has_room_for(&mut self, key: K, now: Instant, max_keys: usize) -> bool {
        if self.busy_until.contains_key(&Some(key)) || self.busy_until.len() < max_keys {
            return true;
        }
        if self.swept_at.is_none_or(|at| at + SWEEP_EVERY <= now) {
            self.busy_until.retain(|_, busy_until| *busy_until > now);
            self.swept_at = Some(now);
        }
        self.busy_until.len() < max_keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn events_pass_in_a_burst_and_then_evenly() {
        for events in [1, 3, 7, 60, 10_000] {
            let (limiter, now) = (KeyedLimiter::new(events, MINUTE, 10), Instant::now());
            for number in 0..events {
                assert!(!limiter.is_exceeded(1, now));
                assert_eq!(limiter.admit(Some(1), now), Ok(()), "{number} of {events}");
            }
            assert!(limiter.is_exceeded(1, now));
            let wait = limiter.admit(Some(1), now).unwrap_err();
            assert!(wait <= MINUTE / events && !wait.is_zero(), "{wait:?}");
            assert_eq!(limiter.admit(Some(2), now), Ok(()));
            assert_eq!(limiter.admit(Some(1), now + wait), Ok(()));
            assert!(limiter.admit(Some(1), now + wait).is_err());
        }
    }

    #[test]
    fn keys_beyond_the_table_share_one_limit_until_others_have_passed() {
        let (limiter, now) = (KeyedLimiter::new(2, MINUTE, 3), Instant::now());
        let entries = || limiter.lock().busy_until.len();
        for key in 0..5 {
            assert_eq!(limiter.admit(Some(key), now), Ok(()));
        }
        assert!(limiter.admit(Some(5), now).is_err());
        assert!(limiter.is_exceeded(6, now), "a key that shares the limit");
        assert!(!limiter.is_exceeded(0, now), "a key of its own");
        assert_eq!(entries(), 4);
        // One event of two has passed after half of the window.
        assert_eq!(limiter.admit(Some(5), now + MINUTE / 2), Ok(()));
        assert!(!limiter.is_exceeded(5, now + MINUTE / 2));
        assert_eq!(entries(), 2, "the shared limit and the new key");
    }
}
