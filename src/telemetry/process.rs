//! Metrics of the process and its runtime, collected at each scrape.
//!
//! The `process_` metrics have the names of Prometheus' own clients, which common dashboards and alerts know.

use metrics::{describe_gauge, gauge};
use metrics_process::Collector;
use tokio::runtime::Handle;

pub(super) fn describe() {
    Collector::default().describe();
    describe_gauge!("afforo_runtime_workers", "Threads that run tasks.");
    describe_gauge!("afforo_runtime_tasks", "Tasks that have not ended.");
    describe_gauge!(
        "afforo_runtime_queue_depth",
        "Tasks that wait for any thread to run them."
    );
    describe_gauge!(
        "afforo_runtime_busy_seconds_total",
        "Time that the threads spent running tasks."
    );
}

#[expect(clippy::cast_precision_loss, reason = "numbers of threads and tasks")]
pub(super) fn collect() {
    Collector::default().collect();
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let runtime = runtime.metrics();
    let workers = runtime.num_workers();
    let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
    gauge!("afforo_runtime_workers").set(workers as f64);
    gauge!("afforo_runtime_tasks").set(runtime.num_alive_tasks() as f64);
    gauge!("afforo_runtime_queue_depth").set(runtime.global_queue_depth() as f64);
    gauge!("afforo_runtime_busy_seconds_total").set(busy.sum::<f64>());
}
