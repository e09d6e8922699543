//! Migrations: one process at a time applies each in its own transaction, and waits for locks only briefly.
//!
//! This replaces the runner of sqlx, which takes session locks and named statements, so it does not work through a
//! transaction pooler. It also waits for table locks without a limit, which blocks all writers of the table.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, PgConnection, PgExecutor, Row,
    migrate::{Migrate, MigrateError, Migration, Migrator},
    postgres::PgConnectOptions,
};
use tokio::time::sleep;

use super::{
    bulk_options,
    locks::{LOCK_TIMEOUT, retry_locked},
};

/// The migrations that this program was built with.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Interval of the checks whether another process has finished migrating.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The result of a migration run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Migrated {
    /// This number of migrations was applied.
    Applied(usize),
    /// The schema was up to date, or another process has just brought it up to date.
    UpToDate,
    /// The schema has these migrations of a newer release, and nothing is missing.
    Newer(Vec<String>),
}

/// Why the schema was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The schema has migrations of a newer release but lacks some of this one. Applying them now could undo the newer ones.
    #[error(
        "the schema has migrations of a newer release ({}), but lacks {}: migrate with the newer release",
        unknown.join(", "),
        missing.join(", ")
    )]
    Gap {
        /// Migrations that this release does not have.
        unknown: Vec<String>,
        /// Migrations that the schema lacks.
        missing: Vec<String>,
    },
    /// A migration failed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The differences between the migrations of a database and of this program, each as `version description`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Migrations that the database lacks.
    pub missing: Vec<String>,
    /// Migrations of a newer release, which this program does not have.
    pub unknown: Vec<String>,
}

/// Compares the migrations of a database with those of this program.
pub async fn versions(connection: &mut PgConnection) -> sqlx::Result<Versions> {
    Ok(compare(&applied(connection).await?))
}

/// Applies the missing migrations. If several processes start at once, one migrates and the others wait. A newer schema is
/// left as it is.
///
/// Works through a transaction pooler, where each transaction may use another connection: it sets nothing for a session,
/// prepares no named statement, and uses a transaction lock.
pub async fn migrate(url: &str) -> Result<Migrated, MigrationError> {
    let options = bulk_options(url).await?.options([("lock_timeout", "0")]);
    let mut connection = PgConnection::connect_with(&options).await?;
    let migrated = match check(&mut connection).await? {
        Some(migrated) => migrated,
        None => migrate_alone(&mut connection, &options).await?,
    };
    connection.close().await?;
    Ok(migrated)
}

/// What only servers of this release know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Documents of orders.
    OrderDocuments,
    /// Reservations.
    Reservations,
}

impl Upgrade {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrderDocuments => "order_documents",
            Self::Reservations => "reservations",
        }
    }
}

/// Confirms that no server of an earlier release is running. From here on, times in the ledger rise for each stock row, orders may
/// have documents, and stock may be reserved.
pub async fn complete_upgrade(url: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(&bulk_options(url).await?).await?;
    // Every movement so far has a lower id. A sequence is not locked, so this waits for no order.
    sqlx::raw_sql(
        "insert into completed_upgrade (name, last_movement)
         select unnest('{ledger_times, order_documents, reservations}'::text[]), last_value from stock_movement_id_seq
         on conflict do nothing",
    )
    .execute(&mut connection)
    .await?;
    connection.close().await
}

/// Whether an operator has confirmed that no server of an earlier release is running.
pub async fn is_upgraded(db: impl PgExecutor<'_>, upgrade: Upgrade) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from completed_upgrade where name = $1) as "exists!""#,
        upgrade.as_str()
    )
    .fetch_one(db)
    .await
}

/// Applies the missing migrations, or waits until another process has applied them.
///
/// A transaction of a second connection holds the lock, so that each migration has its own transaction. The lock is polled: an
/// index that is created concurrently would wait for a blocked statement of another process.
async fn migrate_alone(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<Migrated, MigrationError> {
    let mut holder = PgConnection::connect_with(options).await?;
    let mut logged = false;
    let migrated = loop {
        // Read committed keeps no snapshot, which would block a concurrent index too.
        let mut tx = holder.begin_with("begin isolation level read committed").await?;
        if lock(&mut tx).await? {
            let migrated = match check(connection).await? {
                Some(migrated) => migrated,
                None => Migrated::Applied(apply_missing(connection).await?),
            };
            tx.rollback().await?;
            break migrated;
        }
        // A pooler may need the connection for the process that migrates.
        tx.rollback().await?;
        if let Some(migrated) = check(connection).await? {
            break migrated;
        }
        if !std::mem::replace(&mut logged, true) {
            tracing::info!("another process migrates the database: waiting for it");
        }
        sleep(CHECK_INTERVAL).await;
    };
    holder.close().await?;
    Ok(migrated)
}

/// Takes the migration lock of this database. Returns false if another process holds it.
async fn lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    tx.execute("set local idle_in_transaction_session_timeout = 0")
        .await?;
    let name: String = sqlx::query_scalar("select current_database()::text")
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
    // The number that sqlx uses: older releases migrate with sqlx.
    let number = 0x3d32_ad9e * i64::from(crc32fast::hash(name.as_bytes()));
    sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(number)
        .persistent(false)
        .fetch_one(tx)
        .await
}

/// The result for a schema that lacks nothing; `None` if migrations can be applied.
async fn check(connection: &mut PgConnection) -> Result<Option<Migrated>, MigrationError> {
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

/// An applied migration.
#[derive(FromRow)]
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
    sqlx::raw_sql(
        "select version, description, checksum from _sqlx_migrations where success order by version",
    )
    .fetch_all(connection)
    .await?
    .iter()
    .map(Applied::from_row)
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

/// Applies the missing migrations in sequence. Returns their number.
async fn apply_missing(connection: &mut PgConnection) -> Result<usize, MigrationError> {
    let applied = applied(connection).await?;
    if applied.is_empty() {
        connection.ensure_migrations_table("_sqlx_migrations").await?;
    }
    let is_missing = |migration: &&Migration| !applied.iter().any(|known| known.version == migration.version);
    let mut count = 0;
    for migration in MIGRATIONS.iter().filter(is_missing) {
        retry_locked(connection, "a migration", async |connection| {
            apply(connection, migration).await
        })
        .await
        .map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
        count += 1;
    }
    Ok(count)
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    for line in migration.sql.as_str().lines() {
        if let Some(index) = Index::read(line) {
            index.build(connection).await?;
        }
    }
    if migration.no_tx {
        connection.execute(migration.sql.clone()).await?;
        // A statement without a name needs a transaction behind a pooler.
        let mut tx = connection.begin().await?;
        record(&mut tx, migration).await?;
        return tx.commit().await;
    }
    let mut tx = connection.begin().await?;
    tx.execute(AssertSqlSafe(format!(
        // Without notices about indexes that were built before.
        "{LOCK_TIMEOUT}; set local statement_timeout = 0; set local client_min_messages = warning"
    )))
    .await?;
    tx.execute(migration.sql.clone()).await?;
    record(&mut tx, migration).await?;
    tx.commit().await
}

/// An index that a migration creates if it does not exist, in a line of its own. It is built before the migration, without
/// blocking writers: on the table, or on each partition, from where the index of the parent takes it over. Statements have no
/// parameters: without a transaction, they would need a name behind a pooler.
struct Index<'a> {
    name: &'a str,
    table: &'a str,
    /// The rest of the statement.
    definition: &'a str,
}

impl<'a> Index<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (name, rest) = line
            .strip_prefix("create index if not exists ")?
            .split_once(" on ")?;
        let (table, definition) = rest.split_once(' ')?;
        Some(Self {
            name,
            table,
            definition,
        })
    }

    async fn build(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let tables = format!(
            "select relname::text from pg_class where oid = to_regclass('{0}') and relkind = 'r'
                 or oid in (select inhrelid from pg_inherits where inhparent = to_regclass('{0}'))",
            self.table
        );
        for row in sqlx::raw_sql(AssertSqlSafe(tables))
            .fetch_all(&mut *connection)
            .await?
        {
            let table: String = row.try_get(0)?;
            let name = self.name.replacen(self.table, &table, 1);
            self.build_on(connection, &table, &name).await?;
        }
        Ok(())
    }

    /// Builds the index of a table. One that an interrupted run has left is not valid, and is dropped first.
    async fn build_on(&self, connection: &mut PgConnection, table: &str, name: &str) -> sqlx::Result<()> {
        let found = format!("select indisvalid from pg_index where indexrelid = to_regclass('{name}')");
        let found = sqlx::raw_sql(AssertSqlSafe(found))
            .fetch_optional(&mut *connection)
            .await?;
        let is_valid: Option<bool> = found.map(|row| row.try_get(0)).transpose()?;
        if is_valid == Some(false) {
            let drop = format!("drop index concurrently {name}");
            connection.execute(AssertSqlSafe(drop)).await?;
        }
        if is_valid != Some(true) {
            let create = format!("create index concurrently {name} on {table} {}", self.definition);
            connection.execute(AssertSqlSafe(create)).await?;
        }
        Ok(())
    }
}

/// Records a migration as applied, as sqlx does.
async fn record(connection: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
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
