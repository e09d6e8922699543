//! Connections for reads.
//!
//! sqlx's pool asks a returned connection whether it answers, and ours rolls it back before that: two round trips beside the
//! one of the statement. Reads open no transaction, so a connection whose statement ran to its end is clean and goes back
//! at once. A connection whose statement failed or was cancelled is closed.

use std::{
    fmt,
    io::ErrorKind,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts},
};
use futures::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Connection, Describe, Either, Execute, Executor, PgConnection, Postgres, Row, SqlStr,
    postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::sleep;

use super::{
    ACQUIRE_TIMEOUT, Hosts, PoolUsage, TEST_AFTER_IDLE, accept, answers, failure, is_alive, session,
};

/// Older connections are replaced: the memory of their backends grows with the statements that they prepare.
const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// The longest pause between attempts to open a connection.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A pool of connections for reads. Each statement takes a connection of its own and returns it before its rows are decoded.
/// A statement without a name (`persistent(false)`) needs this pool or a transaction: see `lease`.
#[derive(Clone)]
pub struct ReadPool(managed::Pool<Manager>);

impl ReadPool {
    /// A pool of up to `size` connections to the primary, which are opened at their first use.
    pub(super) fn new(hosts: Hosts, size: u32) -> Self {
        Self::build(hosts, None, size)
    }

    /// The same for a replica that must have replayed the log up to `replayed`.
    pub(super) fn on_replica(replica: Hosts, size: u32, replayed: Arc<AtomicU64>) -> Self {
        Self::build(replica, Some(replayed), size)
    }

    fn build(hosts: Hosts, replayed: Option<Arc<AtomicU64>>, size: u32) -> Self {
        let manager = Manager {
            hosts,
            replayed,
            ignores_options: AtomicBool::new(false),
        };
        let pool = managed::Pool::builder(manager)
            .max_size(usize::try_from(size).unwrap_or(usize::MAX))
            // The connection that was used last is warm, and surplus ones grow old.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(ACQUIRE_TIMEOUT),
                create: Some(ACQUIRE_TIMEOUT),
                recycle: None,
            })
            .build();
        Self(pool.expect("the builder has a runtime for the timeouts"))
    }

    /// The usage of the pool.
    pub fn usage(&self) -> PoolUsage {
        let status = self.0.status();
        let count = |connections: usize| u32::try_from(connections).unwrap_or(u32::MAX);
        PoolUsage {
            max: count(status.max_size),
            idle: count(status.available),
            in_use: count(status.size.saturating_sub(status.available)),
        }
    }

    /// Whether the pool is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Closes idle connections now, and the others when they are returned.
    pub(super) fn close(&self) {
        self.0.close();
    }

    pub(super) async fn acquire(&self) -> sqlx::Result<Lease> {
        match self.0.get().await {
            Ok(object) => Ok(Lease {
                connection: Some(object),
                in_transaction: false,
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Closed) => Err(sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// A connection for a statement. A pooler may change the session between preparing and executing a statement without
    /// a name, so such a statement gets a transaction.
    async fn lease(&self, is_named: bool) -> sqlx::Result<Lease> {
        let mut lease = self.acquire().await?;
        if !is_named && self.0.manager().ignores_options.load(Ordering::Relaxed) {
            lease.execute("BEGIN READ ONLY").await?;
            lease.in_transaction = true;
        }
        Ok(lease)
    }
}

impl fmt::Debug for ReadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadPool").field(&self.usage()).finish()
    }
}

/// Opens connections, and tests those that were idle.
struct Manager {
    hosts: Hosts,
    /// How far a replica must have replayed the log; `None` for a primary.
    replayed: Option<Arc<AtomicU64>>,
    /// Whether a pooler ignores startup options, and so changes sessions.
    ignores_options: AtomicBool,
}

impl managed::Manager for Manager {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<PgConnection> {
        // Boxed: otherwise the future of each read reserves memory for connecting.
        let (connection, by_options) = match &self.replayed {
            None => connect(&self.hosts).boxed().await?,
            Some(replayed) => connect_to_replica(&self.hosts, replayed).boxed().await?,
        };
        if !by_options {
            self.ignores_options.store(true, Ordering::Relaxed);
        }
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > MAX_LIFETIME || failure::is_replaced(metrics.age()) {
            return Err(RecycleError::message("too old"));
        }
        let is_fit = metrics.last_used() < TEST_AFTER_IDLE
            || match &self.replayed {
                None => is_alive(connection).boxed().await,
                Some(_) => answers(connection.execute("select 1")).boxed().await,
            };
        if is_fit {
            return Ok(());
        }
        Err(RecycleError::message("it does not answer"))
    }
}

/// Opens a connection. It tries again while the server starts or is in recovery, as the pools of sqlx do: the pool has a
/// timeout. Returns also whether the startup options are in force.
async fn connect(hosts: &Hosts) -> sqlx::Result<(PgConnection, bool)> {
    let mut pause = Duration::from_millis(10);
    loop {
        match PgConnection::connect_with(&read_only(hosts)).await {
            Ok(mut connection) => match accept(&mut connection).await {
                Ok(by_options) => return Ok((connection, by_options)),
                Err(error) => tracing::error!(%error, "cannot use a new connection"),
            },
            Err(error) if is_starting(&error) => {}
            Err(error) => return Err(error),
        }
        sleep(pause).await;
        pause = (2 * pause).min(MAX_PAUSE);
    }
}

/// Opens a connection to a replica. One that has restarted may show older data than before for a while: it is refused.
async fn connect_to_replica(replica: &Hosts, replayed: &AtomicU64) -> sqlx::Result<(PgConnection, bool)> {
    let mut connection = PgConnection::connect_with(&read_only(replica)).await?;
    let by_options = session::require_settings(&mut connection).await?;
    let row = connection
        .fetch_one("select coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint")
        .await?;
    let is_behind = row.try_get::<i64, _>(0)?.cast_unsigned() < replayed.load(Ordering::Relaxed);
    if is_behind {
        return Err(sqlx::Error::Protocol("the replica has gone back".to_owned()));
    }
    Ok((connection, by_options))
}

/// A safety net: a write would escape the rollback of the other pools.
fn read_only(hosts: &Hosts) -> PgConnectOptions {
    hosts.options().options([("default_transaction_read_only", "on")])
}

/// Whether a server refuses connections because it is starting or shutting down.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

/// A connection during a statement. Dropping it closes the connection.
pub(super) struct Lease {
    connection: Option<Object<Manager>>,
    in_transaction: bool,
}

impl Lease {
    /// Returns the connection to the pool after a statement that ran to its end.
    async fn finish(mut self) -> sqlx::Result<()> {
        if self.in_transaction {
            self.execute("COMMIT").await?;
        }
        drop(self.connection.take());
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(unfinished) = self.connection.take() {
            drop(Object::take(unfinished));
        }
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection
            .as_deref()
            .expect("only `finish` and `drop` take it")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection
            .as_deref_mut()
            .expect("only `finish` and `drop` take it")
    }
}

type Step = Either<PgQueryResult, PgRow>;

impl<'p> Executor<'p> for &'p ReadPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let is_named = query.persistent();
        async move {
            let mut lease = self.lease(is_named).await?;
            let steps: Vec<Step> = lease.fetch_many(query).try_collect().await?;
            lease.finish().await?;
            Ok(stream::iter(steps.into_iter().map(Ok)))
        }
        .try_flatten_stream()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let is_named = query.persistent();
        async move {
            let mut lease = self.lease(is_named).await?;
            let row = lease.fetch_optional(query).await?;
            lease.finish().await?;
            Ok(row)
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        async move {
            let mut lease = self.acquire().await?;
            let statement = lease.prepare_with(sql, parameters).await?;
            lease.finish().await?;
            Ok(statement)
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'p: 'e,
    {
        async move {
            let mut lease = self.acquire().await?;
            let description = lease.describe(sql).await?;
            lease.finish().await?;
            Ok(description)
        }
        .boxed()
    }
}
