//! Metrics of the pools.

use std::time::{Duration, Instant};

use metrics::{gauge, histogram};
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use super::Database;

/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

impl Database {
    /// A function that updates the gauges of the pools.
    pub fn gauges(&self) -> impl Fn() + Send + Sync + 'static {
        let pools = [
            ("main", self.pool.clone()),
            ("placement", self.placement.pool.clone()),
        ];
        move || {
            for (name, pool) in &pools {
                update_gauges(name, pool);
            }
        }
    }

    /// Measures how long a request waits for a connection, every few seconds. It skips the placement pool, whose lanes keep
    /// their connections while orders wait.
    pub async fn probe(self) {
        let mut times = tokio::time::interval(PROBE_EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.pool.is_closed() {
            times.tick().await;
            let asked = Instant::now();
            // A timeout is recorded with its full duration.
            drop(self.pool.acquire().await);
            histogram!("afforo_db_acquire_seconds", "pool" => "main").record(asked.elapsed());
        }
    }
}

fn update_gauges(name: &'static str, pool: &PgPool) {
    let max = pool.options().get_max_connections();
    let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(max);
    let in_use = pool.size().saturating_sub(idle);
    gauge!("afforo_db_pool_max_connections", "pool" => name).set(max);
    gauge!("afforo_db_pool_connections", "pool" => name, "state" => "idle").set(idle);
    gauge!("afforo_db_pool_connections", "pool" => name, "state" => "in_use").set(in_use);
}
