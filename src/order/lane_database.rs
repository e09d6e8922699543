//! A lane's way to the database: connections that are kept while there is more to do, and replaced when they fail.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::histogram;
use sqlx::{Connection, PgPool, Postgres, pool::PoolConnection};
use tracing::Instrument;

use super::{
    group_commit::PlaceError,
    model::Outcome,
    transaction::{Batch, Fate, TransactError},
};
use crate::db;

/// On how many connections a batch is tried.
const TRIES: usize = 3;

/// A lane's way to the database.
pub(super) struct LaneDatabase {
    placement: PgPool,
    find_out_within: Duration,
    /// A connection whose transaction has just been committed. While there is more to do it is kept: the pool would clean it
    /// up, which takes a round trip.
    held: Option<PoolConnection<Postgres>>,
}

impl LaneDatabase {
    pub fn new(placement: PgPool, find_out_within: Duration) -> Self {
        Self {
            placement,
            find_out_within,
            held: None,
        }
    }

    /// Runs a transaction in a task of its own, so that a panic ends that and not the lane.
    pub async fn together(&mut self, batch: Arc<Batch>) -> Result<Vec<Outcome>, PlaceError> {
        let span = tracing::info_span!("placement", orders = batch.len());
        let transaction = transact(
            self.placement.clone(),
            self.held.take(),
            batch,
            self.find_out_within,
        );
        match tokio::spawn(transaction.instrument(span)).await {
            Ok(Ok((outcomes, connection))) => {
                self.held = connection;
                Ok(outcomes)
            }
            Ok(Err(error)) => Err(error),
            Err(error) if error.is_panic() => Err(PlaceError::Panicked),
            Err(_) => Err(PlaceError::Unavailable),
        }
    }

    /// Which of these `(store_id, product_id)` rows somebody else has locked, or, with the product 0, the row of their store. Waits for
    /// none of them.
    pub async fn locked_among(&mut self, mut rows: Vec<(i64, i64)>) -> sqlx::Result<Vec<(i64, i64)>> {
        rows.sort_unstable();
        rows.dedup();
        let (stores, products): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
        let mut connection = match self.held.take() {
            Some(connection) => connection,
            None => acquire(&self.placement, false).await?,
        };
        let mut tx = connection.begin().await?;
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

    /// Returns the connection: the pool looks after those that nobody uses.
    pub fn let_go(&mut self) {
        self.held = None;
    }
}

/// Places a batch; on another connection where one failed and nothing was committed, as all of them do when PostgreSQL
/// restarts.
async fn transact(
    placement: PgPool,
    mut held: Option<PoolConnection<Postgres>>,
    batch: Arc<Batch>,
    find_out_within: Duration,
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
        let error = match batch.transact(&mut connection).await {
            Ok(outcomes) => return Ok((outcomes, Some(connection))),
            Err(TransactError::Refused(error)) => return Err(PlaceError::Database(error)),
            Err(TransactError::KeyInUse) => return Err(PlaceError::KeyInUse),
            Err(TransactError::Lost(error)) => {
                db::note(&error);
                drop(connection.detach());
                error
            }
            Err(TransactError::Uncertain(uncertain)) => {
                drop(connection.detach());
                match uncertain.find_out(&placement, find_out_within).await {
                    Fate::Committed(outcomes) => return Ok((outcomes, None)),
                    Fate::RolledBack(error) => error,
                    Fate::Unknown(error) => {
                        let orders = batch.len();
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            orders,
                            "whether orders were placed is not known"
                        );
                        return Err(PlaceError::Unknown);
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
            "a connection was lost; its orders are placed on another"
        );
    }
}

/// Takes a connection from the pool; if `be_sure`, one that lives. Where one was lost, all that the pool has may be.
async fn acquire(placement: &PgPool, be_sure: bool) -> sqlx::Result<PoolConnection<Postgres>> {
    let asked = Instant::now();
    let mut connection = placement.acquire().await?;
    while be_sure && !db::is_alive(&mut connection).await {
        drop(connection.detach());
        connection = placement.acquire().await?;
    }
    histogram!("afforo_db_acquire_seconds", "pool" => "placement").record(asked.elapsed());
    Ok(connection)
}
