//! Limits events by key, in process memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Keys with a limit of their own. Further keys share one.
const MAX_KEYS: usize = 10_000;

/// Allows each key `events` events at once, and then one every `window / events`: the generic cell rate algorithm.
#[derive(Debug)]
pub struct KeyedLimiter<K> {
    events: u32,
    window: Duration,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    /// When the events of a key will have passed, if they pass evenly. `None` stands for keys beyond [`MAX_KEYS`].
    busy_until: BTreeMap<Option<K>, Instant>,
    swept_at: Option<Instant>,
}

impl<K: Copy + Ord> KeyedLimiter<K> {
    /// A limit of `events`, at least 1, within `window`.
    pub const fn new(events: u32, window: Duration) -> Self {
        let table = Table {
            busy_until: BTreeMap::new(),
            swept_at: None,
        };
        Self {
            events,
            window,
            table: Mutex::new(table),
        }
    }

    /// Counts an event. Over the limit, the event does not count, and the error is the time until the next is allowed.
    pub fn admit(&self, key: Option<K>, now: Instant) -> Result<(), Duration> {
        let mut table = self.lock();
        let key = key.filter(|key| table.has_room_for(*key, now, self.window));
        let busy_until = table.busy_until.entry(key).or_insert(now);
        let next = (*busy_until).max(now) + self.window / self.events;
        let wait = next.saturating_duration_since(now + self.window);
        if !wait.is_zero() {
            return Err(wait);
        }
        *busy_until = next;
        Ok(())
    }

    /// Whether a key is over its limit.
    pub fn is_exceeded(&self, key: K, now: Instant) -> bool {
        let busy_until = self.lock().busy_until.get(&Some(key)).copied();
        busy_until.is_some_and(|at| at + self.window / self.events > now + self.window)
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Ord> Table<K> {
    /// Whether a key has an entry or may get one. A full table is swept at most once per window.
    fn has_room_for(&mut self, key: K, now: Instant, window: Duration) -> bool {
        if self.busy_until.contains_key(&Some(key)) || self.busy_until.len() < MAX_KEYS {
            return true;
        }
        if self.swept_at.is_none_or(|at| at + window <= now) {
            self.busy_until.retain(|_, busy_until| *busy_until > now);
            self.swept_at = Some(now);
        }
        self.busy_until.len() < MAX_KEYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn events_pass_in_a_burst_and_then_evenly() {
        for events in [1, 3, 7, 60, 10_000] {
            let (limiter, now) = (KeyedLimiter::new(events, MINUTE), Instant::now());
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
    fn keys_beyond_the_table_share_one_limit() {
        let (limiter, now) = (KeyedLimiter::new(1, MINUTE), Instant::now());
        let entries = || limiter.lock().busy_until.len();
        for key in 0..=MAX_KEYS {
            assert_eq!(limiter.admit(Some(key), now), Ok(()));
        }
        assert!(limiter.admit(Some(MAX_KEYS + 1), now).is_err());
        assert_eq!(entries(), MAX_KEYS + 1);
        assert_eq!(limiter.admit(Some(MAX_KEYS + 1), now + MINUTE), Ok(()));
        assert_eq!(entries(), 1);
    }
}
