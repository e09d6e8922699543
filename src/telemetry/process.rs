//! What the system and the runtime know of this process, read when somebody looks.
//!
//! The `process_` names are those that Prometheus' own clients use, so that common dashboards and alerts know them.

use std::{fmt::Write as _, fs};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};
use tokio::runtime::Handle;

/// Name, type, meaning, value.
type Metric = (&'static str, &'static str, &'static str, f64);

/// Appends everything that can be found out, in Prometheus' text format.
pub(super) fn write(text: &mut String) {
    for (name, kind, help, value) in of_system().into_iter().flatten().chain(of_runtime()) {
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
        );
    }
}

/// Only where there is a `/proc`.
#[expect(
    clippy::cast_precision_loss,
    reason = "a number of bytes or ticks that a float cannot hold would be news"
)]
fn of_system() -> Option<[Metric; 7]> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything. After it, fields are numbered from 3.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let ticks = clock_ticks_per_second() as f64;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()?;
    let limit = getrlimit(Resource::Nofile).current;
    Some([
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time, of user and system.",
            (field(14)? + field(15)?) / ticks,
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory that is in use.",
            field(24)? * page_size() as f64,
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Memory that was asked for.",
            field(23)?,
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process started, in Unix time.",
            booted + field(22)? / ticks,
        ),
        (
            "process_open_fds",
            "gauge",
            "Open files and connections.",
            fs::read_dir("/proc/self/fd").ok()?.count() as f64,
        ),
        (
            "process_max_fds",
            "gauge",
            "How many files and connections may be open.",
            limit.map_or(f64::INFINITY, |limit| limit as f64),
        ),
        ("process_threads", "gauge", "Threads.", field(20)?),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "numbers of threads and tasks")]
fn of_runtime() -> Vec<Metric> {
    let Ok(runtime) = Handle::try_current() else {
        return Vec::new();
    };
    let runtime = runtime.metrics();
    let workers = runtime.num_workers();
    let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
    vec![
        (
            "afforo_runtime_workers",
            "gauge",
            "Threads that run tasks.",
            workers as f64,
        ),
        (
            "afforo_runtime_tasks",
            "gauge",
            "Tasks that have not ended.",
            runtime.num_alive_tasks() as f64,
        ),
        (
            "afforo_runtime_queue_depth",
            "gauge",
            "Tasks that wait for any thread to run them.",
            runtime.global_queue_depth() as f64,
        ),
        (
            "afforo_runtime_busy_seconds_total",
            "counter",
            "Time that the threads spent running tasks.",
            busy.sum(),
        ),
    ]
}
