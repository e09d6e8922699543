//! Counts what the rooms report through the `metrics` macros, and writes it down for Prometheus.
//!
//! Without a recorder the macros do nothing, and those who report often ask first whether there is one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::process;

/// Seconds that things take: a read takes 60 µs, an order 400 µs, and whoever waits gives up after some seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Orders that go together.
const ORDERS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Once there is one, there is one for good.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Whether anybody counts.
#[must_use]
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::Relaxed)
}

/// Everything that is counted in this process. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    counted: PrometheusHandle,
    /// What is only known when somebody looks.
    looks: Arc<[Look]>,
}

/// Brings gauges up to date.
pub type Look = Box<dyn Fn() + Send + Sync>;

/// Installs the recorder of this process. `describe` says what the metrics are; `looks` are called before each look at them.
///
/// # Errors
/// When there is one already.
pub fn install(describe: impl FnOnce(), looks: Vec<Look>) -> Result<Metrics, BuildError> {
    let counted = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_size".to_owned()), &ORDERS)?
        .install_recorder()?;
    INSTALLED.store(true, Ordering::Relaxed);
    describe_gauge!("afforo_build_info", "Always 1; the label `version` is what runs.");
    describe();
    gauge!("afforo_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Metrics {
        counted,
        looks: looks.into(),
    })
}

impl Metrics {
    /// The state of everything, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        for look in &*self.looks {
            look();
        }
        let mut text = self.counted.render();
        process::write(&mut text);
        text
    }

    /// Sums up what histograms gathered, which would pile up if nobody looked.
    pub fn tidy(&self) {
        self.counted.run_upkeep();
    }
}
