//! Group commit: orders that arrive while a transaction is under way go together into the next one.
//!
//! Nobody waits for a timer. An idle server places an order at once; a busy one shares the locks, the round trips and the
//! commit among all that came meanwhile. Orders of one store go through one lane, so that a hot product is never fought
//! for within a process; a lane has one transaction at a time. What is in a lane is decided whatever becomes of the
//! caller, and each caller is answered only after the commit.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::{
    lane_database::LaneDatabase,
    model::{NewOrder, Outcome, Status},
    transaction::Batch,
};
use crate::{
    database,
    idempotency::Pledge,
    web::{OUTCOME_UNKNOWN, Problem},
};

/// How much may wait, and how much goes together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lanes: transactions at a time.
    pub lanes: usize,
    /// Orders in a transaction, at most.
    pub together: usize,
    /// Orders that wait in a lane, at most; those of one store may be half of them.
    pub waiting: usize,
    /// How long PostgreSQL is asked what became of a commit whose answer was lost.
    pub find_out_within: Duration,
}

impl Limits {
    /// The usual limits, for so many lanes.
    #[must_use]
    pub fn with_lanes(lanes: usize) -> Self {
        Self {
            lanes,
            together: 128,
            waiting: 4096,
            // About as long as PostgreSQL takes to start again after a crash.
            find_out_within: Duration::from_secs(10),
        }
    }
}

/// Why an order was not decided.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Too many orders wait. Nothing was done.
    #[error("too many orders are waiting")]
    Busy,
    /// The transaction of this order alone failed. Nothing was done.
    #[error("the order could not be placed")]
    Database(#[source] sqlx::Error),
    /// The database or the connection to it failed many orders, which has been logged. Nothing was done.
    #[error("the database is unavailable")]
    Unavailable,
    /// The connection failed in the moment of the commit, and PostgreSQL could not be asked what became of it, which has
    /// been logged.
    #[error("whether the order was placed is not known")]
    Unknown,
    /// Another transaction uses the order's idempotency key, and does not end. Nothing was done.
    #[error("the idempotency key is in use")]
    KeyInUse,
    /// A fault of ours ended the placement of this order.
    #[error("the placement of the order panicked")]
    Panicked,
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Busy => Self::TryAgain("Too many orders are waiting, try again later."),
            PlaceError::Unavailable => Self::TryAgain("Service temporarily unavailable, try again later."),
            PlaceError::Unknown => Self::TryAgain(OUTCOME_UNKNOWN),
            PlaceError::KeyInUse => Self::KeyInUse,
            // Nothing was done, which is not to be said of every failed connection.
            PlaceError::Database(error) => match error.into() {
                Self::Lost(error) => Self::Unavailable(error),
                other => other,
            },
            PlaceError::Panicked => Self::Internal(error.into()),
        }
    }
}

type Decision = Result<Outcome, PlaceError>;

/// Where orders are handed in. Clones share the lanes.
#[derive(Clone)]
pub struct GroupCommit {
    lanes: Arc<[Lane]>,
}

impl GroupCommit {
    /// Starts the lanes; they end when the last clone is dropped and what waits in them is decided. Must be called within
    /// a Tokio runtime.
    #[must_use]
    pub fn start(placement: &PgPool, limits: Limits) -> Self {
        let lanes = (0..limits.lanes.max(1)).map(|_| Lane::start(placement.clone(), limits));
        Self {
            lanes: lanes.collect(),
        }
    }

    /// Places an order, together with whatever else waits for its lane. Of one store, first come, first served. Under a key,
    /// it is placed once; no two orders of the same key may be handed in at a time.
    pub async fn place(&self, order: NewOrder, pledge: Option<Pledge>) -> Decision {
        let store = order.store_id.small().unwrap_or(0);
        let decision = self.lane_of(store).hand_in(store, order, pledge)?;
        // A lane answers everyone, unless the runtime is going down.
        decision.await.unwrap_or(Err(PlaceError::Unavailable))
    }

    fn lane_of(&self, store: i64) -> &Lane {
        // Stores are numbered in sequence, which spreads them evenly.
        let lane = store.unsigned_abs() % self.lanes.len() as u64;
        &self.lanes[usize::try_from(lane).unwrap_or(0)]
    }
}

/// The entrance of a lane.
struct Lane {
    queue: mpsc::Sender<Waiting>,
    admission: Arc<Admission>,
}

struct Waiting {
    store: i64,
    order: NewOrder,
    pledge: Option<Pledge>,
    answer: oneshot::Sender<Decision>,
}

impl Lane {
    fn start(placement: PgPool, limits: Limits) -> Self {
        let (queue, waiting) = mpsc::channel(limits.waiting.max(1));
        let admission = Arc::new(Admission {
            limit: limits.waiting,
            counts: Mutex::default(),
        });
        tokio::spawn(work(placement, waiting, admission.clone(), limits));
        Self { queue, admission }
    }

    fn hand_in(
        &self,
        store: i64,
        order: NewOrder,
        pledge: Option<Pledge>,
    ) -> Result<oneshot::Receiver<Decision>, PlaceError> {
        if !self.admission.admit(store) {
            return Err(PlaceError::Busy);
        }
        let (answer, decision) = oneshot::channel();
        // There is room for all that are admitted.
        let waiting = Waiting {
            store,
            order,
            pledge,
            answer,
        };
        self.queue
            .try_send(waiting)
            .map_err(|_| PlaceError::Unavailable)?;
        Ok(decision)
    }
}

/// How many orders are in a lane, undecided: in all, and of each store.
struct Admission {
    limit: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    of_store: HashMap<i64, usize>,
}

impl Admission {
    fn admit(&self, store: i64) -> bool {
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

    fn leave(&self, stores: &[i64]) {
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

/// Decides what waits, batch by batch, until nobody can hand in any more.
async fn work(
    placement: PgPool,
    mut queue: mpsc::Receiver<Waiting>,
    admission: Arc<Admission>,
    limits: Limits,
) {
    let mut database = LaneDatabase::new(placement, limits.find_out_within);
    let mut backlog = Backlog::default();
    loop {
        if backlog.is_empty() && queue.is_empty() {
            database.let_go();
        }
        if backlog.is_empty() {
            match queue.recv().await {
                Some(waiting) => backlog.push(waiting),
                None => return,
            }
        }
        while let Ok(waiting) = queue.try_recv() {
            backlog.push(waiting);
        }
        let (mut batch, mut stores, mut answers) = (Batch::default(), Vec::new(), Vec::new());
        for waiting in backlog.take(limits.together.max(1)) {
            batch.push(waiting.order, waiting.pledge);
            stores.push(waiting.store);
            answers.push(waiting.answer);
        }
        let decisions = decide(&mut database, batch).await;
        admission.leave(&stores);
        for (answer, decision) in answers.into_iter().zip(decisions) {
            count(&decision);
            // Whoever has left does not want to know.
            let _ = answer.send(decision);
        }
    }
}

/// What waits in a lane, by store. The stores take turns: a store that everybody orders from does not keep the others
/// waiting. Its size is bounded by admission.
#[derive(Default)]
struct Backlog {
    turns: VecDeque<i64>,
    of_store: HashMap<i64, VecDeque<Waiting>>,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn push(&mut self, waiting: Waiting) {
        let store = waiting.store;
        let of_store = self.of_store.entry(store).or_default();
        if of_store.is_empty() {
            self.turns.push_back(store);
        }
        of_store.push_back(waiting);
    }

    fn take(&mut self, most: usize) -> Vec<Waiting> {
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

/// Decides a batch in one transaction. If that fails for what is in it, each order is tried alone, so that only the one to
/// blame fails.
async fn decide(database: &mut LaneDatabase, batch: Batch) -> Vec<Decision> {
    let batch = Arc::new(batch);
    let size = batch.len();
    histogram!("afforo_order_batch_size").record(u32::try_from(size).unwrap_or(u32::MAX));
    let error = match database.together(batch.clone()).await {
        Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
        Err(error) if size == 1 => return vec![Err(error)],
        Err(error) => error,
    };
    match &error {
        PlaceError::Unknown => (0..size).map(|_| Err(PlaceError::Unknown)).collect(),
        PlaceError::Database(inner) if !database::was_refused(inner) => {
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
                "a batch of orders is tried one by one"
            );
            // Those to blame for waiting would each wait again, and all others behind them.
            let waited = matches!(&error, PlaceError::Database(error) if database::is_lock_timeout(error));
            let mut decisions = Vec::with_capacity(size);
            for one in batch.one_by_one(waited) {
                let outcomes = database.together(Arc::new(one)).await;
                decisions.push(
                    outcomes.and_then(|outcomes| outcomes.into_iter().next().ok_or(PlaceError::Panicked)),
                );
            }
            decisions
        }
    }
}

fn count(decision: &Decision) {
    let outcome = match decision {
        Ok(Outcome::Placed(order)) if order.status == Status::Confirmed => "confirmed",
        Ok(Outcome::Placed(_)) => "rejected",
        Ok(Outcome::Repeated) => "repeated",
        Ok(Outcome::NoStore | Outcome::TotalTooLarge) => "refused",
        Err(_) => "failed",
    };
    counter!("afforo_orders_total", "outcome" => outcome).increment(1);
}
