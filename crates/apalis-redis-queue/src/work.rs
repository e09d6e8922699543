//! Runs a handler over the jobs of a queue until shutdown.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use apalis::{
    layers::{WorkerBuilderExt, catch_panic::CatchPanicLayer, tracing::TraceLayer},
    prelude::{Task, WorkerBuilder, WorkerError},
};
use futures::FutureExt;
use metrics::histogram;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{JobContext, JobError, Payload, QueueConfig, QueueError, RedisBackend};

/// Pauses before a worker that ended by itself is restarted. They start over after a worker ran for the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the lease manager may take at shutdown to report results and release jobs.
const SHUTDOWN_FLUSH: Duration = Duration::from_secs(3);

/// Runs `handler` over the jobs of a queue, `concurrency` of them at a time on this task, until `shutdown`.
///
/// Handlers share the task, so they must not block its thread: use `spawn_blocking` for long computations. Layers of
/// apalis catch panics, end a run after [`QueueConfig::job_timeout`], and open a span `job` with `queue`, `task_id`
/// and `attempt`.
///
/// It starts without Redis, and survives any failure of Redis. At shutdown no more jobs are claimed. Running jobs may
/// continue for [`QueueConfig::grace`], then they are released without counting an attempt. Dropping the future
/// releases them too, in the background.
///
/// # Errors
///
/// At once, if `url` is not a Redis URL.
pub async fn work<T, F, Fut>(
    url: &str,
    config: QueueConfig,
    concurrency: usize,
    handler: F,
    shutdown: CancellationToken,
) -> Result<(), QueueError>
where
    T: Payload,
    F: Fn(T, JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let handler = Arc::new(handler);
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let failure = run_worker(url, &config, concurrency.max(1), &handler, &shutdown).await?;
        if shutdown.is_cancelled() {
            return Ok(());
        }
        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tracing::error!(
            queue = config.name,
            error = failure.as_ref().map(tracing::field::display),
            pause_ms = pause.as_millis(),
            "worker ended unexpectedly; restarting"
        );
        if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
            return Ok(());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Runs one worker to its end. Returns its error, or `None` after a shutdown.
async fn run_worker<T, F, Fut>(
    url: &str,
    config: &QueueConfig,
    concurrency: usize,
    handler: &Arc<F>,
    shutdown: &CancellationToken,
) -> Result<Option<WorkerError>, QueueError>
where
    T: Payload,
    F: Fn(T, JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let mut backend = RedisBackend::<T>::connect(url, config.clone(), concurrency)?;
    let lease_manager = backend.take_lease_manager();

    let queue = config.name.clone();
    let span = move |task: &Task<T>| {
        let task_id = task.task_id().map(ToString::to_string);
        tracing::info_span!("job", queue, task_id, attempt = task.attempt() + 1)
    };
    let handler = handler.clone();
    let duration = histogram!("afforo_job_duration_seconds", "queue" => config.name.clone());
    // Outermost first. A panic must free its slot, and waiting for a slot must not count as run time.
    let worker = WorkerBuilder::new(format!("{}-{}", config.name, Uuid::now_v7().simple()))
        .backend(backend)
        .layer(CatchPanicLayer::with_panic_handler(panicked))
        .concurrency(concurrency)
        .timeout(config.job_timeout)
        .layer(TraceLayer::new().make_span_with(span).on_failure(()))
        .build(move |payload: T, job: JobContext| {
            let (run, duration, started) = (handler(payload, job), duration.clone(), Instant::now());
            async move {
                let ended = run.await;
                duration.record(started.elapsed());
                ended
            }
        });

    let stop = shutdown.clone().cancelled_owned().map(Ok::<(), WorkerError>);
    let grace = async {
        shutdown.cancelled().await;
        sleep(config.grace).await;
    };
    // The branch that loses is dropped here, and with it every running job.
    let failure = tokio::select! {
        ended = AssertUnwindSafe(worker.run_until(stop)).catch_unwind() => match ended {
            Ok(ended) => ended.err(),
            Err(panic) => Some(WorkerError::PanicError(panic_text(&*panic).to_owned())),
        },
        () = grace => None,
    };
    if let Some(mut lease_manager) = lease_manager
        && timeout(SHUTDOWN_FLUSH, &mut lease_manager).await.is_err()
    {
        lease_manager.abort();
        tracing::warn!(
            queue = config.name,
            "could not report the last jobs to redis; their leases expire"
        );
    }
    Ok(failure)
}

/// A job that panicked. apalis' own error for it would make the job dead at once.
#[derive(Debug, thiserror::Error)]
#[error("the job panicked: {0}")]
struct Panicked(String);

#[allow(clippy::borrowed_box, reason = "the signature is apalis'")]
fn panicked(panic: &Box<dyn Any + Send>) -> Panicked {
    Panicked(panic_text(&**panic).to_owned())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
