//! The queue of a lane: how many orders may wait, and which come next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use tokio::sync::oneshot;

use super::{error::PlaceResult, model::NewOrder};
use crate::idempotency::KeyedRequest;

/// An order that waits in a lane.
pub(super) struct QueuedOrder {
    pub order: NewOrder,
    pub key: Option<KeyedRequest>,
    pub reply: oneshot::Sender<PlaceResult>,
}

/// Limits the undecided orders of a lane: in total, and half of that for one store.
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
    /// Admits up to `limit` orders.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Mutex::default(),
        }
    }

    /// Admits an order, unless a limit is reached.
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

    /// Frees the places of decided orders, given by their stores.
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

/// The waiting orders of a lane, by store. Stores take turns, so that a busy store does not delay the others. `Admission` bounds
/// the size.
#[derive(Default)]
pub(super) struct Backlog {
    turns: VecDeque<i64>,
    of_store: HashMap<i64, VecDeque<QueuedOrder>>,
}

impl Backlog {
    /// Whether no order waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds an order.
    pub fn push(&mut self, queued: QueuedOrder) {
        let store = queued.order.store_id;
        let of_store = self.of_store.entry(store).or_default();
        if of_store.is_empty() {
            self.turns.push_back(store);
        }
        of_store.push_back(queued);
    }

    /// Adds orders in front of all others of their stores, and keeps their sequence.
    pub fn push_first(&mut self, orders: Vec<QueuedOrder>) {
        for queued in orders.into_iter().rev() {
            let store = queued.order.store_id;
            let of_store = self.of_store.entry(store).or_default();
            if of_store.is_empty() {
                self.turns.push_front(store);
            }
            of_store.push_front(queued);
        }
    }

    /// Takes up to `most` orders.
    pub fn take(&mut self, most: usize) -> Vec<QueuedOrder> {
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
