//! PostgreSQL: pools with clean connections, retries, error classification and migrations.

mod failure;
mod freshness;
mod gauges;
mod hosts;
mod locks;
mod migrations;
mod placement;
mod read_pool;
mod replicas;
mod session;
mod url;

use std::{fmt::Display, io, time::Duration};

use chrono::{DateTime, Utc};
use futures::TryFutureExt;
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgExecutor, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use failure::{
    commit, has_code, is_lock_timeout, is_lost_commit, is_retryable, is_server_error, is_transient, is_unfit,
    note, until_grace_ends, until_switched, waited,
};
pub use freshness::Position;
pub use gauges::PoolUsage;
pub use hosts::{HostStatus, Hosts, Role};
pub(crate) use locks::{LOCK_TIMEOUT, retry_locked};
pub use migrations::{
    MIGRATIONS, Migrated, MigrationError, Upgrade, Versions, complete_upgrade, is_upgraded, migrate, versions,
};
pub use placement::PlacementPool;
pub use read_pool::ReadPool;
pub use replicas::{Chosen, ClientId, Replicas};
pub use session::{SessionError, check_sessions};
pub use url::{DatabaseUrl, DatabaseUrlError, Host, TargetSessionAttrs};

/// How long a request waits for a connection before it gets 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tested before use, to notice a silent peer.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(5);
/// Timeout of that test, and of the rollback of a returned connection.
const TEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two questions for the roles of several hosts.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Pause between attempts to reach a database that is starting.
const PAUSE: Duration = Duration::from_millis(250);

/// The pools of a server.
#[derive(Clone, Debug)]
pub struct Database {
    /// For everything but the reads of requests and the placement of orders.
    pub pool: PgPool,
    /// For the reads of requests.
    pub reads: ReadPool,
    /// For placement only.
    pub placement: PlacementPool,
    /// One connection for readiness probes, which must not wait for other work.
    pub probe: PgPool,
    /// The hosts that the pools connect to.
    pub hosts: Hosts,
    /// Replicas that serve reads, if there are any.
    pub replicas: Option<Replicas>,
}

impl Database {
    /// Creates the pools: `pool_size` connections for reads, and as many for everything else but placement. Connections are
    /// opened at their first use. If `url` has several hosts, a task watches them.
    ///
    /// # Errors
    /// When `url` is not a PostgreSQL URL.
    pub fn new(url: &str, pool_size: u32, placement_pool_size: u32) -> sqlx::Result<Self> {
        let hosts = Hosts::new(parse(url)?.hosts);
        let options = hosts.options();
        let database = Self {
            placement: PlacementPool::new(options.clone(), placement_pool_size),
            probe: pool(1).connect_lazy_with(options.clone()),
            reads: ReadPool::new(hosts.clone(), pool_size),
            pool: pool(pool_size).connect_lazy_with(options),
            hosts,
            replicas: None,
        };
        if database.hosts.are_several() {
            failure::watch_hosts();
            tokio::spawn(database.clone().follow_hosts());
        }
        Ok(database)
    }

    /// Adds replicas that serve reads, each with up to `pool_size` connections, while they are at most `max_lag` behind.
    ///
    /// # Errors
    /// When `url` is not a PostgreSQL URL.
    pub fn with_replicas(mut self, url: &str, pool_size: u32, max_lag: Duration) -> sqlx::Result<Self> {
        let url = DatabaseUrl::for_reads(url).map_err(|error| sqlx::Error::Configuration(error.into()))?;
        let replicas = Replicas::new(complete(url).hosts, pool_size, max_lag);
        replicas.watch(ReadPool::new(self.hosts.clone(), 1));
        if !self.hosts.are_several() {
            // Only to show its role beside those of the replicas.
            tokio::spawn(self.clone().follow_hosts());
        }
        self.replicas = Some(replicas);
        Ok(self)
    }

    /// The state of all hosts, those of replicas last. A host in both URLs is there once, as it is used. None for a single host
    /// without replicas.
    pub fn host_statuses(&self) -> Vec<HostStatus> {
        let mut shown: Vec<HostStatus> = Vec::new();
        for status in self.all_host_statuses() {
            match shown.iter_mut().find(|other| other.host == status.host) {
                Some(other) if other.in_use => {}
                Some(other) => *other = status,
                None => shown.push(status),
            }
        }
        shown
    }

    /// The same for each host of each URL.
    fn all_host_statuses(&self) -> impl Iterator<Item = HostStatus> {
        let replicas = self.replicas.iter().flat_map(Replicas::statuses);
        self.hosts.statuses().into_iter().chain(replicas)
    }

    /// Has new connections lead to the host that takes writes, until the pools are closed.
    async fn follow_hosts(self) {
        let mut probes = self.hosts.probes();
        self.hosts.ask(&mut probes).await;
        self.set_connect_options(&self.hosts.options());
        while !self.pool.is_closed() {
            sleep(ASK_EVERY).await;
            if self.hosts.ask(&mut probes).await {
                self.set_connect_options(&self.hosts.options());
                failure::switch_hosts();
            }
        }
    }

    /// Pools for reads ask the hosts themselves.
    fn set_connect_options(&self, options: &PgConnectOptions) {
        self.pool.set_connect_options(options.clone());
        self.probe.set_connect_options(options.clone());
        self.placement.set_connect_options(options.clone());
    }

    /// Closes the pools after connections in use are returned.
    pub async fn close(&self) {
        self.reads.close();
        if let Some(replicas) = &self.replicas {
            replicas.close();
        }
        tokio::join!(self.pool.close(), self.placement.pool.close(), self.probe.close());
    }
}

/// Connection options for the host of `url` that takes writes, with timeouts so that a bad statement cannot block others.
///
/// # Errors
/// When `url` is not a PostgreSQL URL, or none of its several hosts takes writes.
pub async fn connect_options(url: &str) -> sqlx::Result<PgConnectOptions> {
    hosts::locate(&parse(url)?).await
}

/// The hosts of `url`, with the required settings.
fn parse(url: &str) -> sqlx::Result<DatabaseUrl> {
    let url = DatabaseUrl::for_writes(url).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    Ok(complete(url))
}

fn complete(mut url: DatabaseUrl) -> DatabaseUrl {
    for host in &mut url.hosts {
        let options = host.options.clone().application_name("afforo");
        host.options = options.options(session::options());
    }
    url
}

/// Connection options for work on whole tables, which may take longer than a request.
///
/// # Errors
/// As [`connect_options`].
pub async fn bulk_options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(connect_options(url)
        .await?
        .options([("statement_timeout", "0")])
        .disable_statement_logging())
}

/// A pool of clean connections.
///
/// When a `begin` is cancelled, sqlx can return a connection with an open transaction to the pool. Acknowledged writes of the
/// next user would then vanish. So each returned connection is rolled back, and dropped if it does not answer, which also
/// frees the slot of a silent peer.
///
/// The pool refuses servers in recovery. During a failover requests wait for the new primary, as during a restart. It also
/// refuses sessions without the required settings.
fn pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(accept(connection).map_ok(drop)))
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                let fit = !failure::is_replaced(meta.age);
                Ok(fit && (meta.idle_for < TEST_AFTER_IDLE || is_alive(connection).await))
            })
        })
        .after_release(|connection, _| {
            // A rollback without `BEGIN` would log a warning on the server each time.
            Box::pin(async move { Ok(answers(connection.execute("BEGIN; ROLLBACK")).await) })
        })
}

/// Refuses a new connection that leads to a server in recovery, or to a session without the required settings. Returns whether
/// its startup options are in force.
async fn accept(connection: &mut PgConnection) -> sqlx::Result<bool> {
    if is_in_recovery(connection).await? {
        return Err(sqlx::Error::Protocol("the server is in recovery".to_owned()));
    }
    session::require_settings(connection).await
}

/// Whether a connection answers and leads to a primary.
pub(crate) async fn is_alive(connection: &mut PgConnection) -> bool {
    let in_recovery = tokio::time::timeout(TEST_TIMEOUT, is_in_recovery(connection));
    matches!(in_recovery.await, Ok(Ok(false)))
}

/// Whether a server is in recovery, such as a standby.
async fn is_in_recovery(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = connection.fetch_one("select pg_is_in_recovery()").await?;
    sqlx::Row::try_get(&row, 0)
}

/// Whether new transactions may write.
///
/// # Errors
/// When the server does not answer.
pub async fn takes_writes(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = connection.fetch_one("show transaction_read_only").await?;
    Ok(sqlx::Row::try_get::<String, _>(&row, 0)? == "off")
}

async fn answers<T>(question: impl Future<Output = sqlx::Result<T>>) -> bool {
    matches!(tokio::time::timeout(TEST_TIMEOUT, question).await, Ok(Ok(_)))
}

/// Timeout for a silent server. It is longer than the statement timeout, which the server enforces.
pub(crate) const SILENCE: Duration = Duration::from_secs(45);

/// Runs `work` with a timeout, because a lost peer causes no error. The pool drops the connection: it does not answer when it
/// is returned. Work also ends when this process connects to another database host.
pub(crate) async fn with_timeout<T, E: From<sqlx::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(SILENCE, until_switched(work)).await {
        Ok(Some(done)) => done,
        Ok(None) => Err(host_changed().into()),
        Err(silent) => Err(sqlx::Error::Io(silent.into()).into()),
    }
}

/// The error of work that a change to another database host has ended.
pub(crate) fn host_changed() -> sqlx::Error {
    sqlx::Error::Io(io::Error::other("another database host is in use"))
}

/// The time of PostgreSQL, which all servers share.
pub async fn now(db: impl PgExecutor<'_>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select now() as "now!""#)
        .fetch_one(db)
        .await
}

/// Number of retries of a transaction.
pub(crate) const RETRIES: usize = 4;

/// An error that may come from the database.
pub trait AsDatabaseError: Display {
    /// The error of the database, if it is one.
    fn database_error(&self) -> Option<&sqlx::Error>;
}

impl AsDatabaseError for sqlx::Error {
    fn database_error(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

/// Retries a transaction after a deadlock, a serialization failure, or a new reference to a row being deleted.
pub async fn retry<T, E: AsDatabaseError, F: Future<Output = Result<T, E>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    for _ in 0..RETRIES {
        match attempt().await {
            Err(error) if error.database_error().is_some_and(is_retryable) => {
                tracing::debug!(%error, "retrying a transaction");
            }
            done => return done,
        }
    }
    attempt().await
}

/// The constraint that a statement violated, if any.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint)
}

/// Waits until the database accepts connections.
///
/// # Errors
/// The error of the last attempt after `limit`.
pub async fn wait(url: &str, limit: Duration) -> sqlx::Result<()> {
    let url = parse(url)?;
    let end = Instant::now() + limit;
    let mut logged = false;
    loop {
        let attempt = timeout_at(end.max(Instant::now() + TEST_TIMEOUT), connect(&url));
        let error = match attempt.await {
            Ok(Ok(connection)) => return connection.close().await,
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if Instant::now() >= end {
            return Err(error);
        }
        if !std::mem::replace(&mut logged, true) {
            tracing::info!(%error, "waiting for the database");
        }
        sleep(PAUSE).await;
    }
}

async fn connect(url: &DatabaseUrl) -> sqlx::Result<PgConnection> {
    PgConnection::connect_with(&hosts::locate(url).await?).await
}
