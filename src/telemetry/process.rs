//! Metrics of the process and its runtime, collected at each scrape.
//!
//! The `process_` metrics have the names of Prometheus' own clients, which common dashboards and alerts know.

use metrics::gauge;
use tokio::runtime::Handle;

#[expect(clippy::cast_precision_loss, reason = "numbers of threads and tasks")]
pub(super) fn collect() {
    #[cfg(target_os = "linux")]
    if let Err(error) = collect_from_proc() {
        tracing::debug!(%error, "cannot read /proc");
    }
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

/// The procfs crate is small. Crates that also support other systems need libclang to build on macOS.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "bytes, seconds and numbers of files")]
fn collect_from_proc() -> procfs::ProcResult<()> {
    use procfs::{
        WithCurrentSystemInfo,
        process::{LimitValue, Process},
    };

    let process = Process::myself()?;
    let stat = process.stat()?;
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    let limits = process.limits()?;
    let limit = |limit| match limit {
        LimitValue::Value(limit) => limit as f64,
        LimitValue::Unlimited => f64::INFINITY,
    };
    gauge!("process_cpu_seconds_total").set(seconds(stat.utime + stat.stime));
    gauge!("process_resident_memory_bytes").set(stat.rss_bytes().get() as f64);
    gauge!("process_virtual_memory_bytes").set(stat.vsize as f64);
    gauge!("process_virtual_memory_max_bytes").set(limit(limits.max_address_space.soft_limit));
    gauge!("process_start_time_seconds").set(procfs::boot_time_secs()? as f64 + seconds(stat.starttime));
    gauge!("process_open_fds").set(process.fd_count()? as f64);
    gauge!("process_max_fds").set(limit(limits.max_open_files.soft_limit));
    gauge!("process_threads").set(stat.num_threads as f64);
    Ok(())
}
