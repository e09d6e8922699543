//! PostgreSQL: connections that are safe to take from a pool, and migrations that are safe to run twice at once.

mod gauges;

use std::{borrow::Cow, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgExecutor, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgDatabaseError, PgPoolOptions, PgSeverity},
};
use tokio::time::{Instant, sleep, timeout_at};

pub use gauges::describe;

/// The migrations that this program was built with.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

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
fn pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < ASK_AFTER_IDLE || lives(connection).await) })
        })
        .after_release(|connection, _| {
            // Alone, a rollback of nothing would be a warning in the server's log, each time.
            Box::pin(async move { Ok(answers(connection.execute("BEGIN; ROLLBACK")).await) })
        })
}

/// Whether a connection still lives.
pub(crate) async fn lives(connection: &mut PgConnection) -> bool {
    answers(connection.ping()).await
}

async fn answers<T>(question: impl Future<Output = sqlx::Result<T>>) -> bool {
    matches!(tokio::time::timeout(ANSWER_WITHIN, question).await, Ok(Ok(_)))
}

/// A server that is silent for longer is gone: a statement that waits or works for so long it ends by itself.
pub(crate) const SILENCE: Duration = Duration::from_secs(45);

/// Does some work, unless PostgreSQL falls silent over it: no error would ever tell of a peer that is gone. The connection that
/// was used does not go on to anybody else: it does not answer when it is returned, and is dropped.
pub(crate) async fn unless_silent<T, E: From<sqlx::Error>>(
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
            Err(error) if fell_victim(&error) => tracing::debug!(%error, "trying a transaction again"),
            done => return done,
        }
    }
    attempt().await
}

/// Whether a transaction failed for others that ran beside it, so that it may do better another time.
pub(crate) fn fell_victim(error: &sqlx::Error) -> bool {
    const DEADLOCK: &str = "40P01";
    const SERIALIZATION_FAILURE: &str = "40001";
    const FOREIGN_KEY_VIOLATION: &str = "23503";
    sqlstate(error)
        .is_some_and(|code| [DEADLOCK, SERIALIZATION_FAILURE, FOREIGN_KEY_VIOLATION].contains(&code.as_ref()))
}

/// Whether a statement waited for a lock for too long.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    has_code(error, LOCK_NOT_AVAILABLE)
}

/// Whether PostgreSQL has refused a statement, so that it and its transaction had no effect. Not if the connection ended,
/// or the whole server, which it may say in the middle of a commit: the commit may stand all the same.
pub(crate) fn was_refused(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else {
        return false;
    };
    let goes_on = said
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|said| said.severity() == PgSeverity::Error);
    let ended = |code: &str| code.starts_with("57P") || code.starts_with("08");
    goes_on && !said.code().is_some_and(|code| ended(&code))
}

/// Whether a statement was refused with this SQLSTATE.
pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    sqlstate(error).is_some_and(|said| said == code)
}

fn sqlstate(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Whether a statement failed for the state that PostgreSQL is in, and not for what it says: it may do better another time.
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    // Transactions that others rolled back, no resources, an operator's intervention, the system; locks; a standby.
    const PASSING: [&str; 6] = ["40", "53", "57", "58", "55P03", "25006"];
    let passes = |code: &str| PASSING.iter().any(|passing| code.starts_with(passing));
    matches!(error, sqlx::Error::PoolTimedOut) || sqlstate(error).is_some_and(|code| passes(&code))
}

/// The constraint that a statement ran into, if that is why it failed.
#[must_use]
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint)
}

/// What a run of the migrations found to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Migrated {
    /// So many migrations were applied.
    Applied(usize),
    /// The schema was up to date.
    UpToDate,
    /// The schema has these migrations of a newer release, and nothing is missing.
    Newer(Vec<String>),
}

/// Why the schema was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A newer release went ahead without what this one would add; to add it now might undo what that release did.
    #[error(
        "the schema has migrations of a newer release ({}), but lacks {}: migrate with the newer release",
        unknown.join(", "),
        missing.join(", ")
    )]
    Gap {
        /// What this release does not know.
        unknown: Vec<String>,
        /// What the schema lacks.
        missing: Vec<String>,
    },
    /// A migration failed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The database cannot be asked.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Brings the schema of the database up to date, under an advisory lock: of several processes that start at once, one
/// migrates and the others wait for it. A newer schema is left as it is.
pub async fn migrate(url: &str) -> Result<Migrated, MigrationError> {
    // A migration of a filled table may take longer than a request may.
    let options = connect_options(url)?
        .options([("statement_timeout", "0"), ("lock_timeout", "0")])
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    let migrated = loop {
        let Versions { missing, unknown } = versions(&mut connection).await?;
        if !unknown.is_empty() {
            break if missing.is_empty() {
                Migrated::Newer(unknown)
            } else {
                return Err(MigrationError::Gap { unknown, missing });
            };
        }
        // Also when nothing is missing: a migration that was changed is noticed.
        match MIGRATIONS.run(&mut connection).await {
            Ok(()) if missing.is_empty() => break Migrated::UpToDate,
            Ok(()) => break Migrated::Applied(missing.len()),
            // A newer release was here in between.
            Err(MigrateError::VersionMissing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    };
    connection.close().await?;
    Ok(migrated)
}

/// How the migrations of a database differ from those of this program, each as `version description`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Those that the database does not have yet.
    pub missing: Vec<String>,
    /// Those that this program does not know: a newer release has made them.
    pub unknown: Vec<String>,
}

/// Compares the migrations of a database with those of this program.
pub async fn versions(connection: &mut PgConnection) -> sqlx::Result<Versions> {
    let known: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<(i64, String)> = if known {
        sqlx::query_as("select version, description from _sqlx_migrations where success order by version")
            .fetch_all(connection)
            .await?
    } else {
        Vec::new()
    };
    let missing = MIGRATIONS
        .iter()
        .filter(|migration| !applied.iter().any(|(version, _)| *version == migration.version))
        .map(|migration| format!("{} {}", migration.version, migration.description));
    let unknown = applied
        .iter()
        .filter(|(version, _)| !MIGRATIONS.version_exists(*version))
        .map(|(version, description)| format!("{version} {description}"));
    Ok(Versions {
        missing: missing.collect(),
        unknown: unknown.collect(),
    })
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
