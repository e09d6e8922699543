//! PostgreSQL: connections that are safe to take from a pool, and migrations that are safe to run twice at once.

mod failure;
mod gauges;
mod migrations;

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{
    Connection, Executor, PgConnection, PgExecutor, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use failure::{
    commit, has_code, is_lock_timeout, is_lost_commit, is_retryable, is_server_error, is_transient, is_unfit,
    note, waited,
};
pub use gauges::describe_metrics;
pub use migrations::{MIGRATIONS, Migrated, MigrationError, Versions, migrate, versions};

/// How long a request waits for a connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is asked whether it still lives: nobody else would notice a silent peer.
const ASK_AFTER_IDLE: Duration = Duration::from_secs(5);
/// How long that answer, or the clean-up of a returned connection, may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Between two attempts to reach a database that is waited for.
const PAUSE: Duration = Duration::from_millis(250);

/// The pools of a server.
#[derive(Clone, Debug)]
pub struct Database {
    /// Everything but the placement of orders.
    pub pool: PgPool,
    /// Placement only. Its plans are made once and use the indexes: a plan that was made while the order tables were
    /// still empty would go on to scan them row by row.
    pub placement: PgPool,
    /// One connection, to ask whether the database answers: it waits for nobody's work.
    pub probe: PgPool,
}

impl Database {
    /// Makes the pools; connections are opened when they are first needed.
    ///
    /// # Errors
    /// When `url` is not a PostgreSQL URL.
    pub fn new(url: &str, pool_size: u32, placement_pool_size: u32) -> sqlx::Result<Self> {
        let options = connect_options(url)?;
        let placement = options.clone().options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            // A lane that waits holds up many: whoever needs what is locked is set aside after that.
            ("lock_timeout", "2s"),
        ]);
        Ok(Self {
            probe: pool(1).connect_lazy_with(options.clone()),
            pool: pool(pool_size).connect_lazy_with(options),
            placement: pool(placement_pool_size).connect_lazy_with(placement),
        })
    }

    /// Closes the connections, after those in use were returned.
    pub async fn close(&self) {
        tokio::join!(self.pool.close(), self.placement.close(), self.probe.close());
    }
}

/// Options of a connection to `url`, with the limits that keep one bad statement from holding up the rest.
///
/// # Errors
/// When `url` is not a PostgreSQL URL.
pub fn connect_options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("afforo")
        .options([
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "30s"),
            // Who gave a statement up closes its connection; PostgreSQL would go on with it.
            ("client_connection_check_interval", "2s"),
            ("timezone", "UTC"),
            // Compiling a plan costs more than any statement here runs.
            ("jit", "off"),
        ]))
}

/// A pool whose connections come back clean.
///
/// sqlx can return a connection with an open transaction to the pool when a `begin` is cancelled; what the next user
/// then writes and is told is committed would vanish. So every connection is rolled back on its way in, and dropped
/// when it does not answer, which also frees its place in the pool when the peer has gone silent.
///
/// No connection is to a server in recovery: while a failover is under way, whoever asks waits for the server that takes
/// writes, as for one that restarts.
fn pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                if is_in_recovery(connection).await? {
                    return Err(sqlx::Error::Protocol("the server is in recovery".to_owned()));
                }
                Ok(())
            })
        })
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                let fit = !failure::is_replaced(meta.age);
                Ok(fit && (meta.idle_for < ASK_AFTER_IDLE || is_alive(connection).await))
            })
        })
        .after_release(|connection, _| {
            // Alone, a rollback of nothing would be a warning in the server's log, each time.
            Box::pin(async move { Ok(answers(connection.execute("BEGIN; ROLLBACK")).await) })
        })
}

/// Whether a connection still lives, and may write.
pub(crate) async fn is_alive(connection: &mut PgConnection) -> bool {
    let in_recovery = tokio::time::timeout(ANSWER_WITHIN, is_in_recovery(connection));
    matches!(in_recovery.await, Ok(Ok(false)))
}

/// Whether a server is a standby, or not yet a primary.
async fn is_in_recovery(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = connection.fetch_one("select pg_is_in_recovery()").await?;
    sqlx::Row::try_get(&row, 0)
}

/// Whether a transaction that begins now may write.
///
/// # Errors
/// When the server does not answer.
pub async fn takes_writes(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = connection.fetch_one("show transaction_read_only").await?;
    Ok(sqlx::Row::try_get::<String, _>(&row, 0)? == "off")
}

async fn answers<T>(question: impl Future<Output = sqlx::Result<T>>) -> bool {
    matches!(tokio::time::timeout(ANSWER_WITHIN, question).await, Ok(Ok(_)))
}

/// A server that is silent for longer is gone: a statement that waits or works for so long it ends by itself.
pub(crate) const SILENCE: Duration = Duration::from_secs(45);

/// Does some work, unless PostgreSQL falls silent over it: no error would ever tell of a peer that is gone. The connection that
/// was used does not go on to anybody else: it does not answer when it is returned, and is dropped.
pub(crate) async fn with_timeout<T, E: From<sqlx::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(SILENCE, work).await {
        Ok(done) => done,
        Err(silent) => Err(sqlx::Error::Io(silent.into()).into()),
    }
}

/// What time it is, for all servers.
pub async fn now(db: impl PgExecutor<'_>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select now() as "now!""#)
        .fetch_one(db)
        .await
}

/// How often a transaction is run again.
pub(crate) const RETRIES: usize = 4;

/// Runs a transaction again that fell victim to others: a deadlock, a serialization failure, or a row that came to refer
/// to one being deleted. After a few tries the error stands.
pub async fn retry<T, F: Future<Output = sqlx::Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> sqlx::Result<T> {
    for _ in 0..RETRIES {
        match attempt().await {
            Err(error) if is_retryable(&error) => tracing::debug!(%error, "trying a transaction again"),
            done => return done,
        }
    }
    attempt().await
}

/// The constraint that a statement ran into, if that is why it failed.
#[must_use]
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint)
}

/// Waits until the database takes connections.
///
/// # Errors
/// With what the last attempt failed with, when it does not within `patience`.
pub async fn wait(url: &str, patience: Duration) -> sqlx::Result<()> {
    let options = connect_options(url)?;
    let end = Instant::now() + patience;
    let mut told = false;
    loop {
        let attempt = timeout_at(
            end.max(Instant::now() + ANSWER_WITHIN),
            PgConnection::connect_with(&options),
        );
        let error = match attempt.await {
            Ok(Ok(connection)) => return connection.close().await,
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if Instant::now() >= end {
            return Err(error);
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(%error, "waiting for the database");
        }
        sleep(PAUSE).await;
    }
}
