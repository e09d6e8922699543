//! Values that all requests with the same key share, such as a lock or a semaphore.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Number of values at which the map is first swept.
const SWEEP_AT: usize = 1024;

/// Shared values by key. A sweep removes values that no request uses.
#[derive(Debug)]
pub(super) struct SharedMap<K, V>(Mutex<Table<K, V>>);

#[derive(Debug)]
struct Table<K, V> {
    values: HashMap<K, Arc<V>>,
    sweep_at: usize,
}

impl<K: Eq + Hash, V> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self(Mutex::new(Table {
            values: HashMap::new(),
            sweep_at: SWEEP_AT,
        }))
    }

    /// The value of a key, which `make` makes for the first request.
    pub fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.values.len() >= table.sweep_at {
            table.values.retain(|_, value| Arc::strong_count(value) > 1);
            table.sweep_at = SWEEP_AT.max(table.values.len() * 2);
        }
        table
            .values
            .entry(key)
            .or_insert_with(|| Arc::new(make()))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_values_are_removed() {
        let map = SharedMap::new();
        let used = map.get(0, || "used");
        for key in 0..SWEEP_AT * 3 {
            map.get(key, || "unused");
        }
        assert!(Arc::ptr_eq(&used, &map.get(0, || "another")));
        let count = map.0.lock().unwrap().values.len();
        assert!(count <= SWEEP_AT, "{count}");
    }
}
