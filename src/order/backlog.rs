//! What waits in a lane: how much may, and who is next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;

use super::group_commit::Waiting;

/// How many orders are in a lane, undecided: in all, and of each store.
pub(super) struct Admission {
    limit: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    of_store: HashMap<i64, usize>,
}

impl Admission {
    /// Admits so many orders.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Mutex::default(),
        }
    }

    /// Admits an order, if there is room for it.
    pub fn admit(&self, store: i64) -> bool {
        let mut counts = self.counts();
        let of_store = counts.of_store.get(&store).copied().unwrap_or(0);
        let admitted = counts.all < self.limit && of_store < self.limit.div_ceil(2);
        if admitted {
            counts.all += 1;
            counts.of_store.insert(store, of_store + 1);
            gauge!("afforo_orders_waiting").increment(1);
        }
        admitted
    }

    /// Makes room: orders of these stores were decided.
    pub fn leave(&self, stores: &[i64]) {
        let mut counts = self.counts();
        counts.all -= stores.len();
        gauge!("afforo_orders_waiting").decrement(u32::try_from(stores.len()).unwrap_or(u32::MAX));
        for store in stores {
            if let Some(of_store) = counts.of_store.get_mut(store) {
                *of_store -= 1;
                if *of_store == 0 {
                    counts.of_store.remove(store);
                }
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits in a lane, by store. The stores take turns: a store that everybody orders from does not keep the others
/// waiting. Its size is bounded by admission.
#[derive(Default)]
pub(super) struct Backlog {
    turns: VecDeque<i64>,
    of_store: HashMap<i64, VecDeque<Waiting>>,
}

impl Backlog {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds an order.
    pub fn push(&mut self, waiting: Waiting) {
        let store = waiting.order.store();
        let of_store = self.of_store.entry(store).or_default();
        if of_store.is_empty() {
            self.turns.push_back(store);
        }
        of_store.push_back(waiting);
    }

    /// Puts orders, in the order in which they came, before all others of their stores.
    pub fn push_first(&mut self, orders: Vec<Waiting>) {
        for waiting in orders.into_iter().rev() {
            let store = waiting.order.store();
            let of_store = self.of_store.entry(store).or_default();
            if of_store.is_empty() {
                self.turns.push_front(store);
            }
            of_store.push_front(waiting);
        }
    }

    /// Takes so many orders at most.
    pub fn take(&mut self, most: usize) -> Vec<Waiting> {
        let mut taken = Vec::with_capacity(most.min(32));
        while taken.len() < most
            && let Some(store) = self.turns.pop_front()
        {
            let Some(of_store) = self.of_store.get_mut(&store) else {
                continue;
            };
            taken.extend(of_store.pop_front());
            if of_store.is_empty() {
                self.of_store.remove(&store);
            } else {
                self.turns.push_back(store);
            }
        }
        taken
    }
}
