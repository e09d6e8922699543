//! Asking what the server depends on how it is, in bounded time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::{Instant, timeout};

use crate::{
    db::{self, MIGRATIONS, Versions},
    worker::Queues,
};
use apalis_redis_queue::QueueError;

/// How long a page waits for either.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A PostgreSQL that answers.
#[derive(Debug)]
pub struct Postgres {
    pub version: String,
    pub latency: String,
    pub started: DateTime<Utc>,
    pub connections: i64,
    pub most_connections: i64,
    pub size: String,
    /// The migrations of this program, and whether the schema has each.
    pub migrations: Vec<(String, bool)>,
    /// Those of a newer release.
    pub unknown: Vec<String>,
}

/// Asks PostgreSQL, over a connection that waits for nobody's work.
pub async fn postgres(probe: &PgPool) -> Result<Postgres, String> {
    match timeout(PATIENCE, ask_postgres(probe)).await {
        Ok(Ok(postgres)) => Ok(postgres),
        Ok(Err(error)) => {
            tracing::debug!(%error, "PostgreSQL could not be looked at");
            Err("It does not answer.".to_owned())
        }
        Err(_) => Err("It does not answer.".to_owned()),
    }
}

async fn ask_postgres(probe: &PgPool) -> sqlx::Result<Postgres> {
    let mut connection = probe.acquire().await?;
    let asked = Instant::now();
    sqlx::query("select 1").execute(&mut *connection).await?;
    let latency = asked.elapsed();
    let row = sqlx::query!(
        r#"select current_setting('server_version') as "version!", pg_postmaster_start_time() as "started!",
               (select count(*) from pg_stat_activity where backend_type = 'client backend') as "connections!",
               current_setting('max_connections')::bigint as "most_connections!",
               pg_size_pretty(pg_database_size(current_database())) as "size!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    let Versions { missing, unknown } = db::versions(&mut connection).await?;
    let migrations = MIGRATIONS.iter().map(|migration| {
        let name = format!("{} {}", migration.version, migration.description);
        let is_applied = !missing.contains(&name);
        (name, is_applied)
    });
    Ok(Postgres {
        version: row.version,
        latency: shown(latency),
        started: row.started,
        connections: row.connections,
        most_connections: row.most_connections,
        size: row.size,
        migrations: migrations.collect(),
        unknown,
    })
}

/// A Redis that answers.
#[derive(Debug)]
pub struct Redis {
    pub version: String,
    pub latency: String,
    pub memory: String,
    /// What it may use; none where that has no bound.
    pub most_memory: Option<String>,
    pub policy: String,
    pub clients: String,
    /// Workers that listen for jobs.
    pub workers: i64,
}

/// Asks Redis, over the connections of the queues.
pub async fn redis(queues: &Queues) -> Result<Redis, String> {
    match timeout(PATIENCE, ask_redis(queues)).await {
        Ok(Ok(redis)) => Ok(redis),
        Ok(Err(error)) => {
            tracing::debug!(%error, "Redis could not be looked at");
            Err("It does not answer.".to_owned())
        }
        Err(_) => Err("It does not answer.".to_owned()),
    }
}

async fn ask_redis(queues: &Queues) -> Result<Redis, QueueError> {
    let info = queues.confirmations.server().await?;
    // Some are not told everything.
    let said = |name: &str| {
        let lines = info.text.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.trim().to_owned())
    };
    let unsaid = || "not told".to_owned();
    Ok(Redis {
        version: said("redis_version").unwrap_or_else(unsaid),
        latency: shown(info.latency),
        memory: said("used_memory_human").unwrap_or_else(unsaid),
        most_memory: said("maxmemory_human").filter(|most| most != "0B"),
        policy: said("maxmemory_policy").unwrap_or_else(unsaid),
        clients: said("connected_clients").unwrap_or_else(unsaid),
        workers: i64::try_from(info.workers).unwrap_or(i64::MAX),
    })
}

/// In milliseconds, to two places.
fn shown(latency: Duration) -> String {
    format!("{:.2} ms", latency.as_secs_f64() * 1000.0)
}

/// The use of a pool of connections.
#[derive(Debug)]
pub struct Pool {
    pub name: &'static str,
    pub open: i64,
    pub idle: i64,
    pub most: u32,
}

impl Pool {
    /// As it is just now.
    pub fn of(name: &'static str, pool: &PgPool) -> Self {
        Self {
            name,
            open: i64::from(pool.size()),
            idle: i64::try_from(pool.num_idle()).unwrap_or(i64::MAX),
            most: pool.options().get_max_connections(),
        }
    }

    /// Connections that somebody has.
    pub fn in_use(&self) -> i64 {
        (self.open - self.idle).max(0)
    }
}
