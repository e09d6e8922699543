//! The connection of a lane: kept while orders are waiting, replaced when it fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::histogram;
use sqlx::{Connection, Postgres, pool::PoolConnection};
use tracing::Instrument;

use super::{
    error::PlaceError,
    model::Outcome,
    transaction::{Batch, CommitOutcome, TransactError},
};
use crate::db::{self, PlacementPool};

/// How many connections a batch is tried on.
const TRIES: usize = 3;

/// The connection of a lane.
pub(super) struct LaneConnection {
    placement: PlacementPool,
    commit_check_timeout: Duration,
    /// The connection of the last batch. The lane keeps it while orders are waiting: returning it to the pool costs a round
    /// trip.
    held: Option<PoolConnection<Postgres>>,
}

impl LaneConnection {
    pub fn new(placement: PlacementPool, commit_check_timeout: Duration) -> Self {
        Self {
            placement,
            commit_check_timeout,
            held: None,
        }
    }

    /// Places a batch. It runs in a task of its own, so that a panic does not end the lane.
    pub async fn place_batch(&mut self, batch: Arc<Batch>) -> Result<Vec<Outcome>, PlaceError> {
        let span = tracing::info_span!("placement", orders = batch.len());
        let transaction = transact(
            self.placement.clone(),
            self.held.take(),
            batch,
            self.commit_check_timeout,
        );
        // Boxed: tokio copies the future of a task several times.
        match tokio::spawn(Box::pin(transaction.instrument(span))).await {
            Ok(Ok((outcomes, connection))) => {
                self.held = connection;
                Ok(outcomes)
            }
            Ok(Err(error)) => Err(error),
            Err(error) if error.is_panic() => Err(PlaceError::Panicked),
            Err(_) => Err(PlaceError::Unavailable),
        }
    }

    /// Which of these `(store_id, product_id)` rows another transaction has locked; product 0 stands for the row of the store
    /// itself. Does not wait for locks.
    pub async fn find_locked(&mut self, mut rows: Vec<(i64, i64)>) -> sqlx::Result<Vec<(i64, i64)>> {
        rows.sort_unstable();
        rows.dedup();
        db::with_timeout(Box::pin(self.find_locked_among(rows))).await
    }

    async fn find_locked_among(&mut self, rows: Vec<(i64, i64)>) -> sqlx::Result<Vec<(i64, i64)>> {
        let (stores, products): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
        let mut connection = match self.held.take() {
            Some(connection) => connection,
            None => acquire(&self.placement, false).await?,
        };
        let mut tx = connection.begin_with(self.placement.begin()).await?;
        let locked = sqlx::query!(
            r#"with free as materialized (
                   select i.store_id, i.product_id
                   from unnest($1::bigint[], $2::bigint[]) as wanted (store_id, product_id)
                       join inventory i on i.store_id = wanted.store_id and i.product_id = wanted.product_id
                   order by i.store_id, i.product_id
                   for update of i skip locked
               ), free_store as materialized (
                   select id from store where id = any($1) for key share skip locked
               )
               select i.store_id as "store_id!", i.product_id as "product_id!"
               from unnest($1::bigint[], $2::bigint[]) as wanted (store_id, product_id)
                   join inventory i on i.store_id = wanted.store_id and i.product_id = wanted.product_id
               where (i.store_id, i.product_id) not in (select store_id, product_id from free)
               union all
               select id, 0 from store where id = any($1) and id not in (select id from free_store)"#,
            &stores,
            &products,
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.rollback().await?;
        self.held = Some(connection);
        Ok(locked
            .into_iter()
            .map(|row| (row.store_id, row.product_id))
            .collect())
    }

    /// Returns the connection to the pool, which checks idle connections.
    pub fn release(&mut self) {
        self.held = None;
    }
}

/// Places a batch, and retries on a new connection while nothing was committed: all connections fail when PostgreSQL
/// restarts.
async fn transact(
    placement: PlacementPool,
    mut held: Option<PoolConnection<Postgres>>,
    batch: Arc<Batch>,
    commit_check_timeout: Duration,
) -> Result<(Vec<Outcome>, Option<PoolConnection<Postgres>>), PlaceError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => acquire(&placement, tries > 1)
                .await
                .map_err(PlaceError::Database)?,
        };
        let error = match batch.transact(&mut connection, placement.begin()).await {
            Ok(outcomes) => return Ok((outcomes, Some(connection))),
            Err(TransactError::Refused(error)) => return Err(PlaceError::Database(error)),
            Err(TransactError::KeyInUse) => return Err(PlaceError::KeyInUse),
            Err(TransactError::ConnectionLost(error)) => {
                db::note(&error);
                drop(connection.detach());
                error
            }
            Err(TransactError::UnknownCommit(uncertain)) => {
                drop(connection.detach());
                match uncertain.resolve(&placement.pool, commit_check_timeout).await {
                    CommitOutcome::Committed(outcomes) => return Ok((outcomes, None)),
                    CommitOutcome::RolledBack(error) => error,
                    CommitOutcome::Unknown(error) => {
                        let orders = batch.len();
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            orders,
                            "the outcome of a commit of orders is unknown"
                        );
                        return Err(PlaceError::CommitUnknown);
                    }
                }
            }
        };
        if tries == TRIES {
            return Err(PlaceError::Database(error));
        }
        let orders = batch.len();
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            orders,
            "connection lost; retrying the batch on another"
        );
    }
}

/// Takes a connection from the pool. With `check_alive`, tests it first: after one connection was lost, all of the pool's may
/// be.
async fn acquire(placement: &PlacementPool, check_alive: bool) -> sqlx::Result<PoolConnection<Postgres>> {
    let asked = Instant::now();
    let mut connection = acquire_untested(placement).await?;
    while check_alive && !db::is_alive(&mut connection).await {
        drop(connection.detach());
        connection = acquire_untested(placement).await?;
    }
    histogram!("afforo_db_acquire_seconds", "pool" => "placement").record(asked.elapsed());
    Ok(connection)
}

/// Takes a connection from the pool, and starts again if a host that does not answer is replaced meanwhile.
async fn acquire_untested(placement: &PlacementPool) -> sqlx::Result<PoolConnection<Postgres>> {
    loop {
        if let Some(acquired) = db::until_switched(placement.pool.acquire()).await {
            return acquired;
        }
    }
}
