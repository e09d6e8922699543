//! Records what the `metrics` macros report, and renders it for Prometheus.
//!
//! Without a recorder the macros do nothing; what reports often checks first whether there is one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics::gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::{descriptions, process};

/// Buckets of durations in seconds: a read takes 60 µs, an order 400 µs, and waits time out after some seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Buckets of orders in a batch.
const ORDERS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// A recorder is never removed.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Whether metrics are recorded.
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::Relaxed)
}

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    /// Gauges that are only updated for a scrape.
    updates: Arc<[Update]>,
}

/// Updates gauges.
pub type Update = Box<dyn Fn() + Send + Sync>;

/// Installs the recorder of this process. `updates` run before each scrape.
///
/// # Errors
/// When there is one already.
pub fn install(updates: Vec<Update>) -> Result<Metrics, BuildError> {
    let recorded = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_size".to_owned()), &ORDERS)?
        .install_recorder()?;
    INSTALLED.store(true, Ordering::Relaxed);
    descriptions::describe();
    gauge!("afforo_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Metrics {
        recorded,
        updates: updates.into(),
    })
}

impl Metrics {
    /// All metrics, in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        for update in &*self.updates {
            update();
        }
        process::collect();
        self.recorded.render()
    }

    /// Drains the samples of histograms, which otherwise grow until the next scrape.
    pub fn run_upkeep(&self) {
        self.recorded.run_upkeep();
    }
}
