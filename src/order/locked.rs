//! Orders that are set aside: somebody else holds the lock of stock that they need, and does not let go.
//!
//! A lane has one transaction at a time, so an order that waits for a lock holds up all others of its lane. It does so once,
//! until the lock timeout. After that the rows that are locked are known; orders that need them wait beside the lane, and
//! PostgreSQL is asked now and then which of the rows are free, without waiting for any.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{group_commit::Waiting, lane_database::LaneDatabase, model::NewOrder};

/// Between two looks at the rows.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Stock rows that somebody else has locked, as `(store_id, product_id)`; a store's own row has the product 0.
#[derive(Debug, Default)]
pub(super) struct LockedRows(HashSet<(i64, i64)>);

impl LockedRows {
    /// Whether none is locked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds rows that were found locked.
    pub fn add(&mut self, rows: Vec<(i64, i64)>) {
        tracing::warn!(
            ?rows,
            "stock is locked by somebody else; orders that need it are set aside"
        );
        self.0.extend(rows);
    }

    /// Whether an order needs one of the rows.
    pub fn hold_up(&self, order: &NewOrder) -> bool {
        !self.is_empty()
            && (order.pairs().any(|pair| self.0.contains(&pair)) || self.0.contains(&(order.store(), 0)))
    }
}

/// What is set aside in a lane.
#[derive(Default)]
pub(super) struct SetAside {
    /// The rows that are waited for.
    pub rows: LockedRows,
    orders: Vec<(Instant, Waiting)>,
    looked: Option<Instant>,
}

/// Orders that need not be set aside any longer.
#[derive(Default)]
pub(super) struct Released {
    /// What they waited for is free. In the order in which they came.
    pub free: Vec<Waiting>,
    /// They have waited for too long.
    pub overdue: Vec<Waiting>,
}

impl SetAside {
    /// Whether no order is.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Sets an order aside.
    pub fn push(&mut self, waiting: Waiting) {
        self.orders.push((Instant::now(), waiting));
    }

    /// Sets those of the orders aside that need a locked row, and returns the others.
    pub fn sift(&mut self, taken: Vec<Waiting>) -> Vec<Waiting> {
        if self.rows.is_empty() {
            return taken;
        }
        let (blocked, others) = taken
            .into_iter()
            .partition::<Vec<_>, _>(|waiting| self.rows.hold_up(&waiting.order));
        for waiting in blocked {
            self.push(waiting);
        }
        others
    }

    /// Looks whether rows are free by now, if the last look was a while ago. Orders wait for `at_most` so long.
    pub async fn look(&mut self, database: &mut LaneDatabase, at_most: Duration) -> Released {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Released::default();
        }
        let rows = self.rows.0.iter().copied().collect();
        // Where PostgreSQL cannot be asked, they are as they were.
        if let Ok(locked) = database.locked_among(rows).await {
            self.rows.0 = HashSet::from_iter(locked);
        }
        self.looked = Some(Instant::now());
        let mut released = Released::default();
        for (since, waiting) in std::mem::take(&mut self.orders) {
            if !self.rows.hold_up(&waiting.order) {
                released.free.push(waiting);
            } else if since.elapsed() > at_most {
                released.overdue.push(waiting);
            } else {
                self.orders.push((since, waiting));
            }
        }
        released
    }
}
