//! Deferred orders: another transaction holds the lock of a stock row that they need.
//!
//! A lane runs one transaction at a time, so an order that waits for a lock delays all others of its lane. That happens once,
//! until the lock timeout. Then the lane knows the locked rows, defers the orders that need them, and asks PostgreSQL at
//! intervals which rows are free, without waiting for any.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{backlog::QueuedOrder, lane_connection::LaneConnection, model::NewOrder};

/// Interval between two checks of the locked rows.
pub(super) const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Stock rows locked by other transactions, as `(store_id, product_id)`; product 0 stands for the row of the store itself.
#[derive(Debug, Default)]
pub(super) struct LockedRows(HashSet<(i64, i64)>);

impl LockedRows {
    /// Whether no row is locked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds locked rows.
    pub fn add(&mut self, rows: Vec<(i64, i64)>) {
        tracing::warn!(
            ?rows,
            "stock is locked by another transaction; deferring the orders that need it"
        );
        self.0.extend(rows);
    }

    /// Whether an order needs one of these rows.
    pub fn blocks(&self, order: &NewOrder) -> bool {
        !self.is_empty()
            && (order.pairs().any(|pair| self.0.contains(&pair)) || self.0.contains(&(order.store_id, 0)))
    }
}

/// The deferred orders of a lane.
#[derive(Default)]
pub(super) struct DeferredOrders {
    /// The rows that they wait for.
    pub rows: LockedRows,
    orders: Vec<(Instant, QueuedOrder)>,
    looked: Option<Instant>,
}

/// Orders that are no longer deferred.
#[derive(Default)]
pub(super) struct Ready {
    /// The rows that they need are free. In their original sequence.
    pub unblocked: Vec<QueuedOrder>,
    /// They have waited too long.
    pub expired: Vec<QueuedOrder>,
}

impl DeferredOrders {
    /// Whether no order is deferred.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Defers an order.
    pub fn push(&mut self, waiting: QueuedOrder) {
        self.orders.push((Instant::now(), waiting));
    }

    /// Defers the orders that need a locked row, and returns the others.
    pub fn defer_blocked(&mut self, taken: Vec<QueuedOrder>) -> Vec<QueuedOrder> {
        if self.rows.is_empty() {
            return taken;
        }
        let (blocked, others) = taken
            .into_iter()
            .partition::<Vec<_>, _>(|waiting| self.rows.blocks(&waiting.order));
        for waiting in blocked {
            self.push(waiting);
        }
        others
    }

    /// Checks the locked rows, unless the last check was less than `RECHECK_INTERVAL` ago. Orders wait at most `at_most`.
    pub async fn recheck(&mut self, database: &mut LaneConnection, at_most: Duration) -> Ready {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < RECHECK_INTERVAL)
        {
            return Ready::default();
        }
        let rows = self.rows.0.iter().copied().collect();
        // If PostgreSQL does not answer, the rows count as locked.
        if let Ok(locked) = database.find_locked(rows).await {
            self.rows.0 = HashSet::from_iter(locked);
        }
        self.looked = Some(Instant::now());
        let mut ready = Ready::default();
        for (since, waiting) in std::mem::take(&mut self.orders) {
            if !self.rows.blocks(&waiting.order) {
                ready.unblocked.push(waiting);
            } else if since.elapsed() > at_most {
                ready.expired.push(waiting);
            } else {
                self.orders.push((since, waiting));
            }
        }
        ready
    }
}
