//! A lane: takes batches from its queue, places each in a transaction, and replies.

use std::sync::Arc;

use metrics::{counter, histogram};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    backlog::{Admission, Backlog, QueuedOrder},
    deferred::{DeferredOrders, LockedRows, RECHECK_INTERVAL},
    error::{PlaceError, PlaceResult},
    lane_connection::LaneConnection,
    limits::Limits,
    model::{Outcome, Status},
    transaction::Batch,
};
use crate::db::{self, PlacementPool};

/// A lane with its waiting and deferred orders.
pub(super) struct Lane {
    queue: mpsc::Receiver<QueuedOrder>,
    backlog: Backlog,
    deferred: DeferredOrders,
    connection: LaneConnection,
    admission: Arc<Admission>,
    limits: Limits,
}

/// The caller of an order, and the store whose place becomes free with the reply.
struct Caller {
    store: i64,
    reply: oneshot::Sender<PlaceResult>,
}

impl Lane {
    pub fn new(
        placement: PlacementPool,
        queue: mpsc::Receiver<QueuedOrder>,
        admission: Arc<Admission>,
        limits: Limits,
    ) -> Self {
        Self {
            queue,
            backlog: Backlog::default(),
            deferred: DeferredOrders::default(),
            connection: LaneConnection::new(placement, limits.commit_check_timeout),
            admission,
            limits,
        }
    }

    /// Places orders, batch by batch, until all senders are gone and every order is decided.
    pub async fn run(mut self) {
        while self.receive().await {
            self.recheck_deferred().await;
            self.place_next().await;
        }
    }

    /// Moves orders from the queue to the backlog. Waits for one if the backlog is empty, and not longer than the next check of
    /// deferred orders. Returns false at the end.
    async fn receive(&mut self) -> bool {
        if self.backlog.is_empty() {
            if self.queue.is_empty() {
                self.connection.release();
            }
            match next(&mut self.queue, &self.deferred).await {
                Next::Order(order) => self.backlog.push(*order),
                Next::Recheck => {}
                Next::End => return false,
            }
        }
        while let Ok(order) = self.queue.try_recv() {
            self.backlog.push(order);
        }
        true
    }

    async fn recheck_deferred(&mut self) {
        if self.deferred.rows.is_empty() {
            return;
        }
        let at_most = self.limits.lock_wait_timeout;
        let ready = self.deferred.recheck(&mut self.connection, at_most).await;
        self.backlog.push_first(ready.unblocked);
        let expired = ready.expired.into_iter().map(|expired| {
            let store = expired.order.store_id;
            (
                Caller {
                    store,
                    reply: expired.reply,
                },
                Err(PlaceError::Locked),
            )
        });
        self.reply(expired.collect());
    }

    async fn place_next(&mut self) {
        let taken = self.backlog.take(self.limits.batch_size.max(1));
        let mut batch = Batch::new(!self.deferred.rows.is_empty());
        let mut callers = Vec::with_capacity(taken.len());
        for QueuedOrder { order, key, reply } in self.deferred.defer_blocked(taken) {
            callers.push(Caller {
                store: order.store_id,
                reply,
            });
            batch.push(order, key);
        }
        if batch.is_empty() {
            return;
        }
        let batch = Arc::new(batch);
        let results = place(&mut self.connection, batch.clone(), &mut self.deferred.rows).await;
        let mut replies = Vec::with_capacity(callers.len());
        for ((index, caller), result) in callers.into_iter().enumerate().zip(results) {
            if let Some(result) = result {
                replies.push((caller, result));
            } else if let Some((order, key)) = batch.get(index) {
                self.deferred.push(QueuedOrder {
                    order,
                    key,
                    reply: caller.reply,
                });
            }
        }
        self.reply(replies);
    }

    fn reply(&self, replies: Vec<(Caller, PlaceResult)>) {
        let stores: Vec<i64> = replies.iter().map(|(caller, _)| caller.store).collect();
        self.admission.leave(&stores);
        for (caller, result) in replies {
            count(&result);
            // The receiver is gone if the client has disconnected.
            let _ = caller.reply.send(result);
        }
    }
}

/// What a lane with an empty backlog does next.
enum Next {
    Order(Box<QueuedOrder>),
    /// Check whether deferred orders can be placed.
    Recheck,
    /// All senders are gone.
    End,
}

async fn next(queue: &mut mpsc::Receiver<QueuedOrder>, deferred: &DeferredOrders) -> Next {
    let received = if deferred.is_empty() {
        queue.recv().await
    } else {
        match timeout(RECHECK_INTERVAL, queue.recv()).await {
            Ok(received) => received,
            Err(_) => return Next::Recheck,
        }
    };
    match received {
        Some(order) => Next::Order(Box::new(order)),
        None if deferred.is_empty() => Next::End,
        None => {
            sleep(RECHECK_INTERVAL).await;
            Next::Recheck
        }
    }
}

/// Places a batch in one transaction. If that fails because of its contents, places each order alone, so that only the faulty
/// one fails. The result of an order is `None` if another transaction has locked its stock; the rows are added to `locked`.
async fn place(
    connection: &mut LaneConnection,
    batch: Arc<Batch>,
    locked: &mut LockedRows,
) -> Vec<Option<PlaceResult>> {
    let size = batch.len();
    histogram!("afforo_order_batch_size").record(u32::try_from(size).unwrap_or(u32::MAX));
    let mut error = match connection.place_batch(batch.clone()).await {
        Ok(outcomes) => return placed(outcomes),
        Err(error) => error,
    };
    if is_lock_timeout(&error) {
        let found = connection.find_locked(batch.rows()).await.unwrap_or_default();
        if !found.is_empty() {
            locked.add(found);
            return place_unblocked(connection, &batch, locked).await;
        }
        if batch.short_lock_timeout() {
            match connection
                .place_batch(Arc::new(batch.with_full_lock_timeout()))
                .await
            {
                Ok(outcomes) => return placed(outcomes),
                Err(again) => error = again,
            }
        }
    }
    // After a lock timeout a single order is tried once more: the lock is free by now.
    if size == 1 && !is_lock_timeout(&error) {
        return vec![Some(Err(error))];
    }
    let results = place_after(connection, &batch, error).await;
    results.into_iter().map(Some).collect()
}

fn placed(outcomes: Vec<Outcome>) -> Vec<Option<PlaceResult>> {
    outcomes.into_iter().map(|outcome| Some(Ok(outcome))).collect()
}

/// Places the orders of a batch that need no locked row.
async fn place_unblocked(
    connection: &mut LaneConnection,
    batch: &Batch,
    locked: &mut LockedRows,
) -> Vec<Option<PlaceResult>> {
    let (unblocked, blocked) = batch.without(|order| locked.blocks(order));
    let mut results = if unblocked.is_empty() {
        Vec::new()
    } else {
        Box::pin(place(connection, Arc::new(unblocked), locked)).await
    }
    .into_iter();
    let results = blocked
        .into_iter()
        .map(|blocked| if blocked { None } else { results.next().flatten() });
    results.collect()
}

/// Decides a batch whose transaction failed.
async fn place_after(connection: &mut LaneConnection, batch: &Batch, error: PlaceError) -> Vec<PlaceResult> {
    let size = batch.len();
    match &error {
        PlaceError::CommitUnknown => (0..size).map(|_| Err(PlaceError::CommitUnknown)).collect(),
        PlaceError::Database(inner) if is_outage(inner) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                orders = size,
                "a batch of orders failed"
            );
            (0..size).map(|_| Err(PlaceError::Unavailable)).collect()
        }
        _ => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                orders = size,
                "retrying a batch of orders one by one"
            );
            let mut results = Vec::with_capacity(size);
            // A short lock timeout: otherwise each blocked order delays the rest of the batch.
            for single in batch.one_by_one(is_lock_timeout(&error)) {
                let outcomes = connection.place_batch(Arc::new(single)).await;
                results.push(
                    outcomes.and_then(|outcomes| outcomes.into_iter().next().ok_or(PlaceError::Panicked)),
                );
            }
            results
        }
    }
}

/// Whether a batch failed because it waited too long for a lock or an idempotency key.
fn is_lock_timeout(error: &PlaceError) -> bool {
    match error {
        PlaceError::Database(error) => db::waited(error),
        error => matches!(error, PlaceError::KeyInUse),
    }
}

/// Whether a batch failed because of the database, so that its orders would fail one by one too.
fn is_outage(error: &sqlx::Error) -> bool {
    let of_orders = db::waited(error) || db::is_retryable(error);
    !db::is_server_error(error) || db::is_transient(error) && !of_orders
}

fn count(result: &PlaceResult) {
    let outcome = match result {
        Ok(Outcome::Placed(order)) if order.status == Status::Confirmed => "confirmed",
        Ok(Outcome::Placed(_)) => "rejected",
        Ok(Outcome::Repeated) => "repeated",
        Ok(
            Outcome::NoStore
            | Outcome::TotalTooLarge
            | Outcome::Duplicate(_)
            | Outcome::ReservationEnded(..)
            | Outcome::NoReservation,
        ) => "refused",
        Err(_) => "failed",
    };
    counter!("afforo_orders_total", "outcome" => outcome).increment(1);
}
