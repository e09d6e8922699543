//! Probes of PostgreSQL and Redis, each with a time limit.

use std::{fmt::Display, time::Duration};

use sqlx::PgPool;
use tokio::time::{Instant, timeout};

use super::queries;
use crate::{
    db::{self, MIGRATIONS, Versions},
    worker::Queues,
};
use apalis_redis_queue::QueueError;

/// How long a page waits for a probe.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// The state of a PostgreSQL that answers.
#[derive(Debug)]
pub struct Postgres {
    pub server: queries::Server,
    pub latency: String,
    /// The migrations of this release, and whether each is applied.
    pub migrations: Vec<(String, bool)>,
    /// Applied migrations of a newer release.
    pub unknown: Vec<String>,
}

/// Probes PostgreSQL over a connection of its own pool, which no request occupies.
pub async fn postgres(probe: &PgPool) -> Result<Postgres, String> {
    within("PostgreSQL", ask_postgres(probe)).await
}

/// The result of a probe, unless it takes too long.
async fn within<T, E: Display>(name: &str, probe: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(TIMEOUT, probe).await {
        Ok(Ok(state)) => return Ok(state),
        Ok(Err(error)) => tracing::debug!(%error, "{name} could not be probed"),
        Err(_) => tracing::debug!("{name} did not answer a probe"),
    }
    Err(format!("{name} does not answer."))
}

async fn ask_postgres(probe: &PgPool) -> sqlx::Result<Postgres> {
    let mut connection = probe.acquire().await?;
    let asked = Instant::now();
    queries::ping(&mut *connection).await?;
    let latency = asked.elapsed();
    let server = queries::server(&mut *connection).await?;
    let Versions { missing, unknown } = db::versions(&mut connection).await?;
    let migrations = MIGRATIONS.iter().map(|migration| {
        let name = format!("{} {}", migration.version, migration.description);
        let is_applied = !missing.contains(&name);
        (name, is_applied)
    });
    Ok(Postgres {
        server,
        latency: shown(latency),
        migrations: migrations.collect(),
        unknown,
    })
}

/// The state of a Redis that answers.
#[derive(Debug)]
pub struct Redis {
    pub version: String,
    pub latency: String,
    pub memory: String,
    /// Its memory limit, if it has one.
    pub most_memory: Option<String>,
    pub policy: String,
    pub clients: String,
    /// Connected workers.
    pub workers: i64,
}

/// Probes Redis over the connections of the queues.
pub async fn redis(queues: &Queues) -> Result<Redis, String> {
    within("Redis", ask_redis(queues)).await
}

async fn ask_redis(queues: &Queues) -> Result<Redis, QueueError> {
    let info = queues.confirmations.server().await?;
    // Managed services hide some of these.
    let value = |name: &str| {
        let lines = info.text.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    Ok(Redis {
        version: value("redis_version").unwrap_or_else(unknown),
        latency: shown(info.latency),
        memory: value("used_memory_human").unwrap_or_else(unknown),
        most_memory: value("maxmemory_human").filter(|most| most != "0B"),
        policy: value("maxmemory_policy").unwrap_or_else(unknown),
        clients: value("connected_clients").unwrap_or_else(unknown),
        workers: i64::try_from(info.workers).unwrap_or(i64::MAX),
    })
}

/// In milliseconds, to two places.
fn shown(latency: Duration) -> String {
    format!("{:.2} ms", latency.as_secs_f64() * 1000.0)
}
