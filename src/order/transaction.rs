//! A batch of orders in a transaction of its own: placed, kept under the keys that were sent along, and committed.
//!
//! Nothing is placed twice. If the connection is lost before the commit, nothing was done. If it is lost in the moment of
//! the commit, PostgreSQL is asked what became of it.

use std::{collections::HashSet, time::Duration};

use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres, Transaction};
use tokio::time::{Instant, sleep, timeout};

use super::{
    model::{NewOrder, Outcome, PlacedOrder},
    place::{Placed, place_at},
};
use crate::{
    db,
    idempotency::{self, KeepError, KeyedRequest, StoredResponse},
    timestamp::Timestamp,
};

/// How long the answer to each question is waited for: a connection that has fallen silent is replaced by another.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// How a hasty batch waits for locks.
const HASTE: &str = "set local lock_timeout = '50ms'";
const HASTY_TWIN_TIMEOUT: &str = "50ms";

/// Orders that are placed together, each with what it is pledged under, if anything. No two have the same key.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    orders: Vec<NewOrder>,
    pledges: Vec<Option<KeyedRequest>>,
    /// Waits hardly at all for locks.
    is_hasty: bool,
}

/// Why the orders of a batch were not decided.
#[derive(Debug, thiserror::Error)]
pub enum TransactError {
    /// PostgreSQL refused it: nothing was done, and for the same orders nothing would be the next time.
    #[error(transparent)]
    Refused(sqlx::Error),
    /// The connection failed before the commit, or is of no use any more: nothing was done.
    #[error("the connection failed before the commit")]
    Lost(#[source] sqlx::Error),
    /// A key of the batch is in use by a transaction that does not end. Nothing was done.
    #[error("an idempotency key is in use")]
    KeyInUse,
    /// The connection failed in the moment of the commit.
    #[error("the connection failed during the commit")]
    Uncertain(Box<Uncertain>),
}

impl Batch {
    /// One without orders; if `is_hasty`, one that waits hardly at all for locks.
    #[must_use]
    pub fn hasty(is_hasty: bool) -> Self {
        Self {
            is_hasty,
            ..Self::default()
        }
    }

    /// Whether it waits hardly at all for locks.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        self.is_hasty
    }

    /// The same, but one that waits for locks.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            is_hasty: false,
            ..self.clone()
        }
    }

    /// An order with its pledge.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<(NewOrder, Option<KeyedRequest>)> {
        Some((self.orders.get(index)?.clone(), self.pledges.get(index)?.clone()))
    }

    /// The `(store_id, product_id)` pairs that the orders name.
    #[must_use]
    pub fn rows(&self) -> Vec<(i64, i64)> {
        self.orders.iter().flat_map(NewOrder::pairs).collect()
    }

    /// The orders but for those that are left out, as a hasty batch; and of each whether it is left out.
    pub fn without(&self, left_out: impl Fn(&NewOrder) -> bool) -> (Self, Vec<bool>) {
        let left_out: Vec<bool> = self.orders.iter().map(left_out).collect();
        let mut others = Self::hasty(true);
        for index in (0..self.len()).filter(|index| !left_out[*index]) {
            others.push(self.orders[index].clone(), self.pledges[index].clone());
        }
        (others, left_out)
    }

    /// Adds an order.
    pub fn push(&mut self, order: NewOrder, pledge: Option<KeyedRequest>) {
        self.orders.push(order);
        self.pledges.push(pledge);
    }

    /// How many orders there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether there is no order.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Each order as a batch of its own. Hasty ones hardly wait for locks.
    pub fn one_by_one(&self, is_hasty: bool) -> impl Iterator<Item = Self> {
        let pairs = self.orders.iter().cloned().zip(self.pledges.iter().cloned());
        pairs.map(move |(order, pledge)| Self {
            orders: vec![order],
            pledges: vec![pledge],
            is_hasty,
        })
    }

    /// Places the orders. A transaction that falls victim to others is tried again. Not to be cancelled. After
    /// [`Lost`](TransactError::Lost) and [`Uncertain`](TransactError::Uncertain) the connection is not fit for use.
    pub async fn transact(&self, connection: &mut PgConnection) -> Result<Vec<Outcome>, TransactError> {
        for _ in 0..db::RETRIES {
            match self.attempt(connection).await {
                Err(Failure { error, again: true }) => tracing::debug!(%error, "placing orders again"),
                done => return done.map_err(|failure| failure.error),
            }
        }
        self.attempt(connection).await.map_err(|failure| failure.error)
    }

    async fn attempt(&self, connection: &mut PgConnection) -> Result<Vec<Outcome>, Failure> {
        let (tx, placed) = db::with_timeout(self.prepare(connection)).await?;
        let error = match db::with_timeout(tx.commit()).await {
            Ok(()) => return Ok(placed.outcomes),
            Err(error) if db::is_server_error(&error) => return Err(error.into()),
            Err(error) => error,
        };
        Err(TransactError::Uncertain(Box::new(Uncertain { error, placed })).into())
    }

    /// Everything but the commit.
    async fn prepare<'c>(
        &self,
        connection: &'c mut PgConnection,
    ) -> Result<(Transaction<'c, Postgres>, Placed), Failure> {
        let mut tx = connection.begin().await?;
        if self.is_hasty {
            tx.execute(HASTE).await?;
        }
        let known = self.known(&mut tx).await?;
        let placed = if known.is_empty() {
            place_at(&mut tx, &self.orders, None).await?
        } else {
            self.place_others(&mut tx, &known).await?
        };
        self.keep(&mut tx, &placed.outcomes).await?;
        Ok((tx, placed))
    }

    /// The keys that orders were placed under before.
    async fn known(&self, tx: &mut PgConnection) -> sqlx::Result<HashSet<String>> {
        let keys: Vec<String> = self
            .pledges
            .iter()
            .flatten()
            .map(|pledge| pledge.key.clone())
            .collect();
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        Ok(idempotency::known(tx, &keys).await?.into_iter().collect())
    }

    /// Places the orders but for those under keys that are known.
    async fn place_others(&self, tx: &mut PgConnection, known: &HashSet<String>) -> sqlx::Result<Placed> {
        let is_known =
            |pledge: &Option<KeyedRequest>| pledge.as_ref().is_some_and(|pledge| known.contains(&pledge.key));
        let others = self
            .orders
            .iter()
            .zip(&self.pledges)
            .filter(|(_, pledge)| !is_known(pledge));
        let others: Vec<NewOrder> = others.map(|(order, _)| order.clone()).collect();
        let placed = place_at(tx, &others, None).await?;
        let mut outcomes = placed.outcomes.into_iter();
        let outcomes = self.pledges.iter().map(|pledge| {
            if is_known(pledge) {
                return Outcome::Repeated;
            }
            outcomes.next().expect("there is an outcome for every order")
        });
        Ok(Placed {
            outcomes: outcomes.collect(),
            transaction: placed.transaction,
        })
    }

    /// Keeps the answers to orders that were placed under a key. An order that was refused keeps nothing.
    async fn keep(&self, tx: &mut PgConnection, outcomes: &[Outcome]) -> Result<(), Failure> {
        let placed = self.pledges.iter().zip(outcomes);
        let kept: Vec<StoredResponse<'_>> = placed
            .filter_map(|(pledge, outcome)| match (pledge, outcome) {
                (Some(pledge), Outcome::Placed(order)) => Some(kept(pledge, order)),
                _ => None,
            })
            .collect();
        if !kept.is_empty() {
            let patience = if self.is_hasty {
                HASTY_TWIN_TIMEOUT
            } else {
                idempotency::TWIN_TIMEOUT
            };
            idempotency::store(tx, kept, patience).await?;
        }
        Ok(())
    }
}

fn kept<'a>(pledge: &'a KeyedRequest, order: &PlacedOrder) -> StoredResponse<'a> {
    StoredResponse {
        pledge,
        status: order.status_code().as_u16(),
        body: serde_json::to_string(order).expect("an order can be written down"),
    }
}

/// Why an attempt failed, and whether another may do better.
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
            TransactError::Lost(error)
        };
        Self { error, again }
    }
}

impl From<KeepError> for Failure {
    fn from(error: KeepError) -> Self {
        match error {
            // The next attempt knows it.
            KeepError::Taken => Self {
                error: TransactError::KeyInUse,
                again: true,
            },
            KeepError::InUse => TransactError::KeyInUse.into(),
            KeepError::Database(error) => error.into(),
        }
    }
}

/// A transaction of which nobody knows whether it was committed.
#[derive(Debug)]
pub struct Uncertain {
    error: sqlx::Error,
    placed: Placed,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Fate {
    /// It was made.
    Committed(Vec<Outcome>),
    /// It was not, and will not be; with what it failed with.
    RolledBack(sqlx::Error),
    /// PostgreSQL could not be asked in time; with what it failed with.
    Unknown(sqlx::Error),
}

impl Uncertain {
    /// Finds out what became of the commit; gives up after `patience`.
    pub async fn find_out(self, db: &PgPool, patience: Duration) -> Fate {
        let written = self.placed.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Placed(order) => Some((order.id, order.created_at)),
            _ => None,
        });
        let Some(written) = written else {
            // There was nothing to commit.
            return Fate::Committed(self.placed.outcomes);
        };
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let asked = timeout(
                ANSWER_WITHIN,
                was_committed(db, &self.placed.transaction, written),
            )
            .await;
            match asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(Some(true)) => return Fate::Committed(self.placed.outcomes),
                Ok(Some(false)) => return Fate::RolledBack(self.error),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "what became of a commit is not known yet"),
            }
            sleep(PAUSE).await;
        }
        Fate::Unknown(self.error)
    }
}

/// What PostgreSQL says of a transaction's number that was not given to anyone yet.
const NO_SUCH_NUMBER: &str = "22023";

/// Whether a transaction was committed; `None` while it still may be.
///
/// The number alone does not tell: PostgreSQL gives it to another transaction if it crashed before it wrote the first one
/// down. An id is given again likewise, but not at the same time.
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
