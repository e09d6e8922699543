//! One transaction for a batch of orders: place them, store the responses under their idempotency keys, commit.
//!
//! No order is placed twice. A connection that is lost before the commit has written nothing. If it is lost during the
//! commit, `UnknownCommit` asks PostgreSQL for the state of the transaction.

use std::{collections::HashSet, time::Duration};

use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres, Transaction};
use tokio::time::{Instant, sleep, timeout};

use super::{
    model::{NewOrder, Outcome, PlacedOrder},
    place::{Placed, place_at},
};
use crate::{
    db,
    idempotency::{self, KeyedRequest, StoreError, StoredResponse},
    timestamp::Timestamp,
};

/// Timeout of each query for the state of a commit; the next query uses another connection.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two such queries.
const PAUSE: Duration = Duration::from_millis(50);

const SHORT_LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";
const SHORT_KEY_LOCK_TIMEOUT: &str = "50ms";

/// Orders for one transaction, each with its optional idempotency key. No two orders have the same key.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    orders: Vec<NewOrder>,
    keys: Vec<Option<KeyedRequest>>,
    /// Whether the transaction waits for locks only briefly.
    short_lock_timeout: bool,
}

/// Why a batch failed.
#[derive(Debug, thiserror::Error)]
pub enum TransactError {
    /// PostgreSQL refused a statement. Nothing was written, and a retry would fail again.
    #[error(transparent)]
    Refused(sqlx::Error),
    /// The connection failed before the commit, or is unusable. Nothing was written.
    #[error("the connection failed before the commit")]
    ConnectionLost(#[source] sqlx::Error),
    /// A running transaction holds an idempotency key of the batch. Nothing was written.
    #[error("an idempotency key is in use")]
    KeyInUse,
    /// The connection failed during the commit.
    #[error("the connection failed during the commit")]
    UnknownCommit(Box<UnknownCommit>),
}

impl Batch {
    /// An empty batch. With `short_lock_timeout`, its transaction waits at most 50 ms for a lock.
    pub fn new(short_lock_timeout: bool) -> Self {
        Self {
            short_lock_timeout,
            ..Self::default()
        }
    }

    /// Whether the transaction waits at most 50 ms for a lock.
    pub fn short_lock_timeout(&self) -> bool {
        self.short_lock_timeout
    }

    /// The same orders with the full lock timeout.
    pub fn with_full_lock_timeout(&self) -> Self {
        Self {
            short_lock_timeout: false,
            ..self.clone()
        }
    }

    /// An order and its key.
    pub fn get(&self, index: usize) -> Option<(NewOrder, Option<KeyedRequest>)> {
        Some((self.orders.get(index)?.clone(), self.keys.get(index)?.clone()))
    }

    /// The `(store_id, product_id)` pairs of all items.
    pub fn rows(&self) -> Vec<(i64, i64)> {
        self.orders.iter().flat_map(NewOrder::pairs).collect()
    }

    /// A batch of the orders that `left_out` does not match, with a short lock timeout; and for each order whether it matched.
    pub fn without(&self, left_out: impl Fn(&NewOrder) -> bool) -> (Self, Vec<bool>) {
        let left_out: Vec<bool> = self.orders.iter().map(left_out).collect();
        let mut others = Self::new(true);
        for index in (0..self.len()).filter(|index| !left_out[*index]) {
            others.push(self.orders[index].clone(), self.keys[index].clone());
        }
        (others, left_out)
    }

    /// Adds an order.
    pub fn push(&mut self, order: NewOrder, key: Option<KeyedRequest>) {
        self.orders.push(order);
        self.keys.push(key);
    }

    /// Number of orders.
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether the batch has no orders.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// One batch for each order.
    pub fn one_by_one(&self, short_lock_timeout: bool) -> impl Iterator<Item = Self> {
        let pairs = self.orders.iter().cloned().zip(self.keys.iter().cloned());
        pairs.map(move |(order, key)| Self {
            orders: vec![order],
            keys: vec![key],
            short_lock_timeout,
        })
    }

    /// Places the orders, and retries after a deadlock or serialization failure. `begin` is the statement that begins each
    /// transaction. Must not be cancelled. After [`ConnectionLost`](TransactError::ConnectionLost) and
    /// [`UnknownCommit`](TransactError::UnknownCommit) the connection must not be reused.
    pub async fn transact(
        &self,
        connection: &mut PgConnection,
        begin: &'static str,
    ) -> Result<Vec<Outcome>, TransactError> {
        for _ in 0..db::RETRIES {
            match self.attempt(connection, begin).await {
                Err(Failure { error, again: true }) => tracing::debug!(%error, "retrying a batch of orders"),
                done => return done.map_err(|failure| failure.error),
            }
        }
        let last = self.attempt(connection, begin).await;
        last.map_err(|failure| failure.error)
    }

    async fn attempt(
        &self,
        connection: &mut PgConnection,
        begin: &'static str,
    ) -> Result<Vec<Outcome>, Failure> {
        let (tx, placed) = db::with_timeout(self.prepare(connection, begin)).await?;
        let error = match db::with_timeout(tx.commit()).await {
            Ok(()) => return Ok(placed.outcomes),
            Err(error) if db::is_server_error(&error) => return Err(error.into()),
            Err(error) => error,
        };
        Err(TransactError::UnknownCommit(Box::new(UnknownCommit { error, placed })).into())
    }

    /// Runs everything except the commit.
    async fn prepare<'c>(
        &self,
        connection: &'c mut PgConnection,
        begin: &'static str,
    ) -> Result<(Transaction<'c, Postgres>, Placed), Failure> {
        let mut tx = connection.begin_with(begin).await?;
        if self.short_lock_timeout {
            tx.execute(SHORT_LOCK_TIMEOUT).await?;
        }
        let known = self.known(&mut tx).await?;
        let placed = if known.is_empty() {
            place_at(&mut tx, &self.orders, None).await?
        } else {
            self.place_others(&mut tx, &known).await?
        };
        self.store_responses(&mut tx, &placed.outcomes).await?;
        Ok((tx, placed))
    }

    /// The keys of the batch that have a stored response.
    async fn known(&self, tx: &mut PgConnection) -> sqlx::Result<HashSet<String>> {
        let keys: Vec<String> = self.keys.iter().flatten().map(|key| key.key.clone()).collect();
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        Ok(idempotency::known(tx, &keys).await?.into_iter().collect())
    }

    /// Places the orders whose keys have no stored response.
    async fn place_others(&self, tx: &mut PgConnection, known: &HashSet<String>) -> sqlx::Result<Placed> {
        let is_known = |key: &Option<KeyedRequest>| key.as_ref().is_some_and(|key| known.contains(&key.key));
        let others = self
            .orders
            .iter()
            .zip(&self.keys)
            .filter(|(_, key)| !is_known(key));
        let others: Vec<NewOrder> = others.map(|(order, _)| order.clone()).collect();
        let placed = place_at(tx, &others, None).await?;
        let mut outcomes = placed.outcomes.into_iter();
        let outcomes = self.keys.iter().map(|key| {
            if is_known(key) {
                return Outcome::Repeated;
            }
            outcomes.next().expect("there is an outcome for every order")
        });
        Ok(Placed {
            outcomes: outcomes.collect(),
            transaction: placed.transaction,
        })
    }

    /// Stores the responses to orders with a key. An order that was refused stores none.
    async fn store_responses(&self, tx: &mut PgConnection, outcomes: &[Outcome]) -> Result<(), Failure> {
        let placed = self.keys.iter().zip(outcomes);
        let responses: Vec<StoredResponse<'_>> = placed
            .filter_map(|(key, outcome)| match (key, outcome) {
                (Some(key), Outcome::Placed(order)) => Some(response(key, order)),
                _ => None,
            })
            .collect();
        if !responses.is_empty() {
            let timeout = if self.short_lock_timeout {
                SHORT_KEY_LOCK_TIMEOUT
            } else {
                idempotency::KEY_LOCK_TIMEOUT
            };
            idempotency::store(tx, responses, timeout).await?;
        }
        Ok(())
    }
}

fn response<'a>(key: &'a KeyedRequest, order: &PlacedOrder) -> StoredResponse<'a> {
    StoredResponse {
        request: key,
        status: order.status_code().as_u16(),
        body: serde_json::to_string(order).expect("an order serializes"),
    }
}

/// Why an attempt failed, and whether a retry may succeed.
struct Failure {
    error: TransactError,
    again: bool,
}

impl From<TransactError> for Failure {
    fn from(error: TransactError) -> Self {
        Self { error, again: false }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let again = db::is_retryable(&error);
        let error = if db::is_server_error(&error) && !db::is_unfit(&error) {
            TransactError::Refused(error)
        } else {
            TransactError::ConnectionLost(error)
        };
        Self { error, again }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // The retry finds the stored response.
            StoreError::Taken => Self {
                error: TransactError::KeyInUse,
                again: true,
            },
            StoreError::InUse => TransactError::KeyInUse.into(),
            StoreError::Database(error) => error.into(),
        }
    }
}

/// A transaction whose commit was sent and not acknowledged.
#[derive(Debug)]
pub struct UnknownCommit {
    error: sqlx::Error,
    placed: Placed,
}

/// The outcome of a commit that was not acknowledged.
#[derive(Debug)]
pub enum CommitOutcome {
    /// The transaction was committed.
    Committed(Vec<Outcome>),
    /// It was rolled back; with the error of the connection.
    RolledBack(sqlx::Error),
    /// PostgreSQL did not answer in time; with the error of the connection.
    Unknown(sqlx::Error),
}

impl UnknownCommit {
    /// Asks PostgreSQL for the outcome; `Unknown` after `limit`.
    pub async fn resolve(self, db: &PgPool, limit: Duration) -> CommitOutcome {
        let written = self.placed.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Placed(order) => Some((order.id, order.created_at)),
            _ => None,
        });
        let Some(written) = written else {
            // There was nothing to commit.
            return CommitOutcome::Committed(self.placed.outcomes);
        };
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let asked = timeout(
                STATUS_TIMEOUT,
                was_committed(db, &self.placed.transaction, written),
            )
            .await;
            match asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(Some(true)) => return CommitOutcome::Committed(self.placed.outcomes),
                Ok(Some(false)) => return CommitOutcome::RolledBack(self.error),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the outcome of a commit is not known yet"),
            }
            sleep(PAUSE).await;
        }
        CommitOutcome::Unknown(self.error)
    }
}

/// SQLSTATE of `pg_xact_status` for a transaction id that PostgreSQL has not assigned yet.
const NO_SUCH_NUMBER: &str = "22023";

/// Whether a transaction was committed; `None` while it is in progress.
///
/// The transaction id alone does not prove it: after a crash PostgreSQL may assign an id again that it had not yet written to
/// disk. The same holds for the id of an order, but not for the pair of id and time.
async fn was_committed(
    db: &PgPool,
    transaction: &str,
    (id, created_at): (i64, Timestamp),
) -> sqlx::Result<Option<bool>> {
    let status = sqlx::query_scalar!("select pg_xact_status($1::text::xid8)", transaction)
        .fetch_one(db)
        .await;
    match status {
        Ok(Some(status)) if status == "in progress" => return Ok(None),
        Err(error) if db::has_code(&error, NO_SUCH_NUMBER) => {}
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    sqlx::query_scalar!(
        r#"select exists (select from orders where id = $1 and created_at = $2) as "exists!""#,
        id,
        created_at as Timestamp
    )
    .fetch_one(db)
    .await
    .map(Some)
}
