//! Metrics of the pools.

use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use super::{Database, Role};

/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

impl Database {
    /// A function that updates the gauges of the pools.
    pub fn gauges(&self) -> impl Fn() + Send + Sync + 'static {
        let database = self.clone();
        move || {
            update_hosts(&database);
            for (name, usage) in [
                ("main", PoolUsage::of(&database.pool)),
                ("reads", database.reads.usage()),
                ("placement", PoolUsage::of(&database.placement.pool)),
            ] {
                gauge!("afforo_db_pool_max_connections", "pool" => name).set(usage.max);
                gauge!("afforo_db_pool_connections", "pool" => name, "state" => "idle").set(usage.idle);
                gauge!("afforo_db_pool_connections", "pool" => name, "state" => "in_use").set(usage.in_use);
            }
        }
    }

    /// Measures how long a request waits for a connection of each pool, every few seconds. It skips the placement pool, whose
    /// lanes keep their connections while orders wait.
    pub async fn probe(self) {
        let mut times = tokio::time::interval(PROBE_EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.pool.is_closed() {
            times.tick().await;
            record_wait("main", self.pool.acquire()).await;
            // A worker has no use for this pool: a probe would open its only connection.
            let usage = self.reads.usage();
            if usage.idle + usage.in_use > 0 {
                record_wait("reads", self.reads.acquire()).await;
            }
        }
    }
}

/// Records how long a connection took. A timeout is recorded with its full duration.
async fn record_wait<T>(pool: &'static str, acquire: impl Future<Output = sqlx::Result<T>>) {
    let asked = Instant::now();
    drop(acquire.await);
    histogram!("afforo_db_acquire_seconds", "pool" => pool).record(asked.elapsed());
}

/// The connections of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolUsage {
    /// The maximum number of connections.
    pub max: u32,
    /// Open connections that nothing uses.
    pub idle: u32,
    /// Connections in use.
    pub in_use: u32,
}

impl PoolUsage {
    /// The usage of a pool of sqlx.
    pub fn of(pool: &PgPool) -> Self {
        let max = pool.options().get_max_connections();
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(max);
        Self {
            max,
            idle,
            in_use: pool.size().saturating_sub(idle),
        }
    }
}

fn update_hosts(database: &Database) {
    for status in database.all_host_statuses() {
        // An increase is visible only after a zero.
        counter!("afforo_database_failovers_total").increment(0);
        for each in Role::ALL {
            gauge!("afforo_database_host", "host" => status.host.clone(), "role" => each.name())
                .set(f64::from(each == status.role));
        }
        let in_use = f64::from(status.in_use);
        if status.is_replica {
            let lag = status.lag.map_or(f64::NAN, |lag| lag.as_secs_f64());
            gauge!("afforo_replica_lag_seconds", "host" => status.host.clone()).set(lag);
            gauge!("afforo_replica_in_use", "host" => status.host).set(in_use);
        } else {
            gauge!("afforo_database_host_in_use", "host" => status.host).set(in_use);
        }
    }
}
