//! Migrations: each in a transaction of its own, by one process at a time, without holding up those who write.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row,
    migrate::{MigrateError, Migration, Migrator},
    postgres::{PgConnectOptions, PgRow},
};
use tokio::time::sleep;

use super::{connect_options, has_code, is_lock_timeout};

/// The migrations that this program was built with.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a migration waits for a lock. Every statement that comes after it for the same table waits behind it.
const LOCK_TIMEOUT: &str = "2s";
/// The pause before a migration that did not get a lock is tried again, and the longest one: it doubles each time.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Between two looks whether another process still migrates.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a run of the migrations found to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Migrated {
    /// So many migrations were applied.
    Applied(usize),
    /// The schema was up to date, or another process has just brought it up to date.
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
    Ok(compare(&applied(connection).await?))
}

/// Brings the schema of the database up to date: of several processes that start at once, one migrates and the others
/// wait for it. A newer schema is left as it is.
///
/// All of it works through a transaction pooler too, where each transaction may have another connection: nothing is set
/// for a session, no statement is prepared under a name, and the lock belongs to a transaction.
pub async fn migrate(url: &str) -> Result<Migrated, MigrationError> {
    // A migration of a filled table may take longer than a request may.
    let options = connect_options(url)?
        .options([("statement_timeout", "0"), ("lock_timeout", "0")])
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    let migrated = match look(&mut connection).await? {
        Some(migrated) => migrated,
        None => migrate_alone(&mut connection, &options).await?,
    };
    connection.close().await?;
    Ok(migrated)
}

/// Applies what is missing, unless another process does: then this one waits until nothing is missing.
///
/// The lock goes with a transaction of another connection, which does nothing else, so that the migrations can have
/// transactions of their own. Nobody waits for it within a statement: an index that is made concurrently would wait for
/// that statement.
async fn migrate_alone(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<Migrated, MigrationError> {
    let mut holder = PgConnection::connect_with(options).await?;
    let mut told = false;
    let migrated = loop {
        // For the same reason, no snapshot may stay.
        let mut tx = holder.begin_with("begin isolation level read committed").await?;
        if lock(&mut tx).await? {
            let migrated = match look(connection).await? {
                Some(migrated) => migrated,
                None => Migrated::Applied(apply_missing(connection).await?),
            };
            tx.rollback().await?;
            break migrated;
        }
        // A pooler may need the connection for whoever migrates.
        tx.rollback().await?;
        if let Some(migrated) = look(connection).await? {
            break migrated;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!("another process migrates the database: waiting for it");
        }
        sleep(LOOK_AGAIN).await;
    };
    holder.close().await?;
    Ok(migrated)
}

/// Takes the lock of those who migrate this database, unless another process has it.
async fn lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    tx.execute("set local idle_in_transaction_session_timeout = 0")
        .await?;
    let name: String = sqlx::query_scalar("select current_database()::text")
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
    // The number that sqlx takes: releases before this one leave the migrations to it.
    let number = 0x3d32_ad9e * i64::from(crc32fast::hash(name.as_bytes()));
    sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(number)
        .persistent(false)
        .fetch_one(tx)
        .await
}

/// What is to be said of a schema that lacks nothing; `None` if it lacks something that can be applied.
async fn look(connection: &mut PgConnection) -> Result<Option<Migrated>, MigrationError> {
    let applied = applied(connection).await?;
    for migration in MIGRATIONS.iter() {
        let known = applied.iter().find(|known| known.version == migration.version);
        if known.is_some_and(|known| known.checksum != *migration.checksum) {
            return Err(MigrateError::VersionMismatch(migration.version).into());
        }
    }
    let Versions { missing, unknown } = compare(&applied);
    match (missing.is_empty(), unknown.is_empty()) {
        (true, true) => Ok(Some(Migrated::UpToDate)),
        (true, false) => Ok(Some(Migrated::Newer(unknown))),
        (false, true) => Ok(None),
        (false, false) => Err(MigrationError::Gap { unknown, missing }),
    }
}

/// A migration that the database has.
struct Applied {
    version: i64,
    description: String,
    checksum: Vec<u8>,
}

async fn applied(connection: &mut PgConnection) -> sqlx::Result<Vec<Applied>> {
    let known = sqlx::raw_sql("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !known.try_get::<bool, _>(0)? {
        return Ok(Vec::new());
    }
    let applied = |row: PgRow| {
        Ok(Applied {
            version: row.try_get(0)?,
            description: row.try_get(1)?,
            checksum: row.try_get(2)?,
        })
    };
    sqlx::raw_sql(
        "select version, description, checksum from _sqlx_migrations where success order by version",
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(applied)
    .collect()
}

fn compare(applied: &[Applied]) -> Versions {
    let missing = MIGRATIONS
        .iter()
        .filter(|migration| !applied.iter().any(|known| known.version == migration.version))
        .map(|migration| format!("{} {}", migration.version, migration.description));
    let unknown = applied
        .iter()
        .filter(|known| !MIGRATIONS.version_exists(known.version))
        .map(|known| format!("{} {}", known.version, known.description));
    Versions {
        missing: missing.collect(),
        unknown: unknown.collect(),
    }
}

/// Applies what is missing, in order, and returns how many migrations that were.
async fn apply_missing(connection: &mut PgConnection) -> Result<usize, MigrationError> {
    let applied = applied(connection).await?;
    if applied.is_empty() {
        connection
            .execute(
                "create table if not exists _sqlx_migrations (
                     version bigint primary key,
                     description text not null,
                     installed_on timestamptz not null default now(),
                     success boolean not null,
                     checksum bytea not null,
                     execution_time bigint not null
                 )",
            )
            .await?;
    }
    let is_missing = |migration: &&Migration| !applied.iter().any(|known| known.version == migration.version);
    let mut count = 0;
    for migration in MIGRATIONS.iter().filter(is_missing) {
        apply_patiently(connection, migration).await?;
        count += 1;
    }
    Ok(count)
}

/// Tries a migration again as often as it does not get a lock in time: those who write go on in between.
async fn apply_patiently(connection: &mut PgConnection, migration: &Migration) -> Result<(), MigrateError> {
    const DEADLOCK: &str = "40P01";
    let (mut pause, longest) = PAUSES;
    loop {
        match apply(connection, migration).await {
            Err(error) if is_lock_timeout(&error) || has_code(&error, DEADLOCK) => tracing::warn!(
                migration = migration.version,
                %error,
                "a migration waits for a lock that another transaction holds: trying again in {} s",
                pause.as_secs()
            ),
            done => return done.map_err(|error| MigrateError::ExecuteMigration(error, migration.version)),
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    if migration.no_tx {
        connection.execute(migration.sql.clone()).await?;
        return note(connection, migration).await;
    }
    let mut tx = connection.begin().await?;
    tx.execute(AssertSqlSafe(format!(
        "set local lock_timeout = '{LOCK_TIMEOUT}'; set local statement_timeout = 0"
    )))
    .await?;
    tx.execute(migration.sql.clone()).await?;
    note(&mut tx, migration).await?;
    tx.commit().await
}

/// Notes a migration as applied, as sqlx does.
async fn note(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values ($1, $2, true, $3, extract(epoch from clock_timestamp() - now()) * 1e9)",
    )
    .bind(migration.version)
    .bind(&*migration.description)
    .bind(&*migration.checksum)
    .persistent(false)
    .execute(connection)
    .await
    .map(drop)
}
