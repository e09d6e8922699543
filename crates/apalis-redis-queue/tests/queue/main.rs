//! The job queue against a real Redis, which some tests stall, kill or flush.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test ends before an unbounded channel grows"
)]

mod failing;
mod leases;
mod monitor;
mod outages;
mod pushing;
mod running;
mod shutdown;

use std::{sync::Arc, time::Duration};

use apalis_redis_queue::{Counts, JobContext, JobError, Pushed, Queue, QueueConfig, QueueError, work};
use devstack::Redis;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender},
    },
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Job {
    n: u32,
}

/// Short times, yet long enough for a busy machine.
fn config() -> QueueConfig {
    QueueConfig {
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(50),
        backoff_base: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        keep_done: Duration::from_mins(10),
        max_attempts: 3,
        job_timeout: Duration::from_secs(20),
        grace: Duration::from_secs(10),
        ..QueueConfig::new("test")
    }
}

fn pool(server: &Redis) -> deadpool_redis::Pool {
    deadpool_redis::Config::from_url(server.url(0))
        .create_pool(Some(deadpool_redis::Runtime::Tokio1))
        .unwrap()
}

fn queue(server: &Redis, config: QueueConfig) -> Queue<Job> {
    Queue::new(pool(server), config)
}

/// A worker in the background, which ends with this value.
struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), QueueError>>,
}

impl Worker {
    async fn ended(mut self) -> Result<(), QueueError> {
        timeout(Duration::from_secs(10), &mut self.task)
            .await
            .expect("the worker ends")
            .unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn worker<F, Fut>(server: &Redis, config: QueueConfig, concurrency: usize, handler: F) -> Worker
where
    F: Fn(Job, JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let (url, shutdown) = (server.url(0), CancellationToken::new());
    let stop = shutdown.clone();
    let task = tokio::spawn(async move { work(&url, config, concurrency, handler, stop).await });
    Worker { shutdown, task }
}

/// A handler that reports each run, and succeeds.
fn tell(
    ran: UnboundedSender<JobContext>,
) -> impl Fn(Job, JobContext) -> std::future::Ready<Result<(), JobError>> + Clone {
    move |_, context| {
        ran.send(context).unwrap();
        std::future::ready(Ok(()))
    }
}

/// Runs end only as permits are added to the gate.
fn gate() -> (Arc<Semaphore>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    (gate.clone(), gate)
}

fn gated_by<F, Fut>(
    gate: Arc<Semaphore>,
    handler: F,
) -> impl Fn(Job, JobContext) -> futures::future::BoxFuture<'static, Result<(), JobError>>
where
    F: Fn(Job, JobContext) -> Fut,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    move |job, context| {
        let (gate, run) = (gate.clone(), handler(job, context));
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            run.await
        })
    }
}

async fn push_all(queue: &Queue<Job>, ids: &[String]) {
    let job = Job { n: 0 };
    let jobs: Vec<(&str, &Job)> = ids.iter().map(|id| (id.as_str(), &job)).collect();
    let pushed = queue.push_many(&jobs).await.unwrap();
    assert!(pushed.iter().all(|pushed| *pushed == Pushed::Queued));
}

async fn next<R>(runs: &mut UnboundedReceiver<R>) -> R {
    timeout(Duration::from_secs(10), runs.recv())
        .await
        .expect("a job runs")
        .unwrap()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(15), wait)
        .await
        .expect("the condition holds in time");
}

async fn until_counts(queue: &Queue<Job>, expected: Counts) {
    let mut counts = None;
    let reached = until(async || {
        counts = queue.counts().await.ok();
        counts == Some(expected)
    });
    let reached = timeout(Duration::from_secs(12), reached).await;
    assert!(reached.is_ok(), "counts are {counts:?}, not {expected:?}");
}

/// Waits until this number of jobs is dead, and none is in another state.
async fn until_dead(queue: &Queue<Job>, dead: u64) {
    let expected = Counts {
        dead,
        ..Counts::default()
    };
    until_counts(queue, expected).await;
}

async fn until_subscribed(server: &Redis) {
    until(async || {
        let (_, subscribers): (String, u32) = ask(server, &["PUBSUB", "NUMSUB", "{q:test}:wake"]).await;
        subscribers == 1
    })
    .await;
}

async fn connect(server: &Redis) -> redis::aio::MultiplexedConnection {
    redis::Client::open(server.url(0))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

async fn ask<R: redis::FromRedisValue>(server: &Redis, command: &[&str]) -> R {
    let mut connection = connect(server).await;
    redis::cmd(command[0])
        .arg(&command[1..])
        .query_async(&mut connection)
        .await
        .unwrap()
}
