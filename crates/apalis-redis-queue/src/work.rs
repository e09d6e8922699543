//! Runs a handler over the jobs of a queue until it is told to stop.

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

/// Pauses between two workers, if they end by themselves; a worker that ran for longer than the longest
/// pause starts them over.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the last results and the returned jobs may take to reach Redis at the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs `handler` over the jobs of a queue, `concurrency` of them at a time on this task, until `shutdown`.
///
/// As they share the task, a handler must not block its thread; what computes for long belongs into
/// `spawn_blocking`. The handlers go through apalis: its layers catch panics, end a run after
/// [`QueueConfig::job_timeout`], and open a span `job` with `queue`, `task_id` and `attempt`.
///
/// It needs no Redis to start, and outlasts any failure of Redis. At shutdown no more jobs are claimed; the
/// running ones may go on for [`QueueConfig::grace`], then they are dropped and returned to the queue as if
/// they had not been claimed. Dropping the future returns them as well, in the background.
///
/// # Errors
///
/// Only at once, if `url` is no Redis URL.
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
            "worker ended by itself; it starts again"
        );
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Runs one worker to its end. Answers why, unless it was told to stop.
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
    let keeper = backend.take_keeper();

    let queue = config.name.clone();
    let span = move |task: &Task<T>| {
        let task_id = task.task_id().map(ToString::to_string);
        tracing::info_span!("job", queue, task_id, attempt = task.attempt() + 1)
    };
    let handler = handler.clone();
    let duration = histogram!("afforo_job_duration_seconds", "queue" => config.name.clone());
    // Outermost first. A panic must free its slot; waiting for a slot is not the job's time.
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

    let stop = shutdown.clone();
    let stop = async move {
        stop.cancelled().await;
        Ok::<(), WorkerError>(())
    };
    let grace = async {
        shutdown.cancelled().await;
        sleep(config.grace).await;
    };
    // The loser is dropped here, and with it every job that still runs.
    let failure = tokio::select! {
        ended = AssertUnwindSafe(worker.run_until(stop)).catch_unwind() => match ended {
            Ok(ended) => ended.err(),
            Err(panic) => Some(WorkerError::PanicError(panic_text(&*panic).to_owned())),
        },
        () = grace => None,
    };
    if let Some(mut keeper) = keeper
        && timeout(FAREWELL, &mut keeper).await.is_err()
    {
        keeper.abort();
        tracing::warn!(
            queue = config.name,
            "redis was not told how the last jobs ended; their leases run out"
        );
    }
    Ok(failure)
}

/// A job that panicked. Not apalis' own error for it, which would make the job dead at once.
#[derive(Debug, thiserror::Error)]
#[error("the job panicked: {0}")]
struct Panicked(String);

#[allow(clippy::borrowed_box, reason = "the audit_context is apalis'")]
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
