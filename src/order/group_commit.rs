//! Group commit: orders that arrive while a transaction is under way go together into the next one.
//!
//! Nobody waits for a timer. An idle server places an order at once; a busy one shares the locks, the round trips and the
//! commit among all that came meanwhile. Orders of one store go through one lane, so that a hot product is never fought
//! for within a process; a lane has one transaction at a time. What is in a lane is decided whatever becomes of the
//! caller, and each caller is answered only after the commit.

use std::{sync::Arc, time::Duration};

use metrics::{counter, histogram};
use sqlx::PgPool;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    backlog::{Admission, Backlog},
    lane_database::LaneDatabase,
    locked::{LOOK_EVERY, LockedRows, SetAside},
    model::{NewOrder, Outcome, Status},
    transaction::Batch,
};
use crate::{
    db,
    http::{ApiError, OUTCOME_UNKNOWN},
    idempotency::KeyedRequest,
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
    /// How long an order waits for stock that somebody else has locked, after the lock timeout.
    pub set_aside_for: Duration,
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
            set_aside_for: Duration::from_secs(8),
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
    /// Somebody else has locked stock that the order needs, and does not let go. Nothing was done.
    #[error("the stock is locked")]
    Locked,
    /// Another transaction uses the order's idempotency key, and does not end. Nothing was done.
    #[error("the idempotency key is in use")]
    KeyInUse,
    /// A fault of ours ended the placement of this order.
    #[error("the placement of the order panicked")]
    Panicked,
}

impl From<PlaceError> for ApiError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Busy => Self::Unavailable("Too many orders are waiting, try again later."),
            PlaceError::Unavailable | PlaceError::Locked => {
                Self::Unavailable("Service temporarily unavailable, try again later.")
            }
            PlaceError::Unknown => Self::Unavailable(OUTCOME_UNKNOWN),
            PlaceError::KeyInUse => Self::IdempotencyConflict,
            PlaceError::Database(error) => error.into(),
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
    pub async fn place(&self, order: NewOrder, pledge: Option<KeyedRequest>) -> Decision {
        let store = order.store();
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

/// An order in a lane.
pub(super) struct Waiting {
    pub order: NewOrder,
    pledge: Option<KeyedRequest>,
    answer: oneshot::Sender<Decision>,
}

impl Lane {
    fn start(placement: PgPool, limits: Limits) -> Self {
        let (queue, waiting) = mpsc::channel(limits.waiting.max(1));
        let admission = Arc::new(Admission::new(limits.waiting));
        tokio::spawn(work(placement, waiting, admission.clone(), limits));
        Self { queue, admission }
    }

    fn hand_in(
        &self,
        store: i64,
        order: NewOrder,
        pledge: Option<KeyedRequest>,
    ) -> Result<oneshot::Receiver<Decision>, PlaceError> {
        if !self.admission.admit(store) {
            return Err(PlaceError::Busy);
        }
        let (answer, decision) = oneshot::channel();
        // There is room for all that are admitted.
        let waiting = Waiting {
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

/// Decides what waits, batch by batch, until nobody can hand in any more.
async fn work(
    placement: PgPool,
    mut queue: mpsc::Receiver<Waiting>,
    admission: Arc<Admission>,
    limits: Limits,
) {
    let mut database = LaneDatabase::new(placement, limits.find_out_within);
    let (mut backlog, mut aside) = (Backlog::default(), SetAside::default());
    let answer = |answers: Vec<(i64, oneshot::Sender<Decision>, Decision)>| {
        let stores: Vec<i64> = answers.iter().map(|(store, ..)| *store).collect();
        admission.leave(&stores);
        for (_, answer, decision) in answers {
            count(&decision);
            // Whoever has left does not want to know.
            let _ = answer.send(decision);
        }
    };
    loop {
        if backlog.is_empty() && queue.is_empty() {
            database.let_go();
        }
        if backlog.is_empty() {
            match next(&mut queue, &aside).await {
                Next::Order(waiting) => backlog.push(*waiting),
                Next::Look => {}
                Next::End => return,
            }
        }
        while let Ok(waiting) = queue.try_recv() {
            backlog.push(waiting);
        }
        if !aside.rows.is_empty() {
            let released = aside.look(&mut database, limits.set_aside_for).await;
            backlog.push_first(released.free);
            let overdue = released.overdue.into_iter();
            let overdue =
                overdue.map(|waiting| (waiting.order.store(), waiting.answer, Err(PlaceError::Locked)));
            answer(overdue.collect());
        }
        let (mut batch, mut answers) = (Batch::hasty(!aside.rows.is_empty()), Vec::new());
        for waiting in aside.sift(backlog.take(limits.together.max(1))) {
            answers.push((waiting.order.store(), waiting.answer));
            batch.push(waiting.order, waiting.pledge);
        }
        if batch.is_empty() {
            continue;
        }
        let batch = Arc::new(batch);
        let decisions = decide(&mut database, batch.clone(), &mut aside.rows).await;
        let mut decided = Vec::with_capacity(answers.len());
        for ((index, (store, answer)), decision) in answers.into_iter().enumerate().zip(decisions) {
            if let Some(decision) = decision {
                decided.push((store, answer, decision));
            } else if let Some((order, pledge)) = batch.get(index) {
                aside.push(Waiting {
                    order,
                    pledge,
                    answer,
                });
            }
        }
        answer(decided);
    }
}

/// What a lane does when nothing waits in it.
enum Next {
    Order(Box<Waiting>),
    /// Look whether what is set aside can be placed.
    Look,
    /// Nobody can hand in any more.
    End,
}

async fn next(queue: &mut mpsc::Receiver<Waiting>, aside: &SetAside) -> Next {
    let received = if aside.is_empty() {
        queue.recv().await
    } else {
        match timeout(LOOK_EVERY, queue.recv()).await {
            Ok(received) => received,
            Err(_) => return Next::Look,
        }
    };
    match received {
        Some(waiting) => Next::Order(Box::new(waiting)),
        None if aside.is_empty() => Next::End,
        None => {
            sleep(LOOK_EVERY).await;
            Next::Look
        }
    }
}

/// Decides a batch in one transaction. If that fails for what is in it, each order is tried alone, so that only the one to
/// blame fails. Orders that need stock that somebody else has locked are not decided; its rows are added to `locked`.
async fn decide(
    database: &mut LaneDatabase,
    batch: Arc<Batch>,
    locked: &mut LockedRows,
) -> Vec<Option<Decision>> {
    let size = batch.len();
    histogram!("afforo_order_batch_size").record(u32::try_from(size).unwrap_or(u32::MAX));
    let mut error = match database.together(batch.clone()).await {
        Ok(outcomes) => return outcomes.into_iter().map(|outcome| Some(Ok(outcome))).collect(),
        Err(error) => error,
    };
    if waited(&error) {
        let found = database.locked_among(batch.rows()).await.unwrap_or_default();
        if !found.is_empty() {
            locked.add(found);
            return decide_others(database, &batch, locked).await;
        }
        if batch.is_hasty() {
            match database.together(Arc::new(batch.patient())).await {
                Ok(outcomes) => return outcomes.into_iter().map(|outcome| Some(Ok(outcome))).collect(),
                Err(again) => error = again,
            }
        }
    }
    // One that waited is tried once more: what it waited for is free by now.
    if size == 1 && !waited(&error) {
        return vec![Some(Err(error))];
    }
    decide_after(database, &batch, error)
        .await
        .into_iter()
        .map(Some)
        .collect()
}

/// Decides those of a batch that need no row that is locked.
async fn decide_others(
    database: &mut LaneDatabase,
    batch: &Batch,
    locked: &mut LockedRows,
) -> Vec<Option<Decision>> {
    let (others, blocked) = batch.without(|order| locked.hold_up(order));
    let mut decisions = if others.is_empty() {
        Vec::new()
    } else {
        Box::pin(decide(database, Arc::new(others), locked)).await
    }
    .into_iter();
    let decided = blocked
        .into_iter()
        .map(|blocked| if blocked { None } else { decisions.next().flatten() });
    decided.collect()
}

/// Decides a batch that failed.
async fn decide_after(database: &mut LaneDatabase, batch: &Batch, error: PlaceError) -> Vec<Decision> {
    let size = batch.len();
    match &error {
        PlaceError::Unknown => (0..size).map(|_| Err(PlaceError::Unknown)).collect(),
        PlaceError::Database(inner) if is_of_the_database(inner) => {
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
            let mut decisions = Vec::with_capacity(size);
            // Those to blame for waiting would each wait again, and all others behind them.
            for one in batch.one_by_one(waited(&error)) {
                let outcomes = database.together(Arc::new(one)).await;
                decisions.push(
                    outcomes.and_then(|outcomes| outcomes.into_iter().next().ok_or(PlaceError::Panicked)),
                );
            }
            decisions
        }
    }
}

/// Whether a batch failed for it waited too long.
fn waited(error: &PlaceError) -> bool {
    match error {
        PlaceError::Database(error) => db::waited(error),
        error => matches!(error, PlaceError::KeyInUse),
    }
}

/// Whether a batch failed for the database, so that its orders would fare no better one by one.
fn is_of_the_database(error: &sqlx::Error) -> bool {
    let of_orders = db::waited(error) || db::is_retryable(error);
    !db::is_server_error(error) || db::is_transient(error) && !of_orders
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
