//! A job queue on Redis, worked off by apalis. The README says what it promises and how it is used.
//!
//! [`Queue`] pushes and lists jobs, [`work`] runs a handler over them, and [`RedisBackend`] connects both to apalis.
//!
//! ```text
//! push ──> ready ──claim──> running ──> done (expires)
//!            ^                 │
//!            └── delayed <─────┴──────> dead ──retry──> ready
//! ```
//!
//! Keys start with [`QueueConfig::prefix`] and `{q:NAME}`: `:ready` list, `:delayed` and `:lease` sorted by due time,
//! `:dead` and `:done` sorted by the time a job ended, `:job:<id>` hash, `:receipt:<worker>` list, `:wake` channel.

mod backend;
mod client;
mod leases;
mod link;
mod monitor;
mod pool;
mod scripts;
mod work;

use std::time::Duration;

use apalis_core::{
    error::BoxDynError,
    task::{Task, data::MissingDataError, from_request::FromRequest, task_id::TaskId},
};
use metrics::{Unit, describe_counter, describe_histogram};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    backend::RedisBackend,
    client::{Counts, Pushed, Queue},
    monitor::{JobInfo, Server, State},
    work::work,
};

/// Describes the metrics of the queues.
pub fn describe_metrics() {
    describe_counter!("afforo_jobs_total", "Runs of jobs by queue, and how they ended");
    describe_histogram!(
        "afforo_job_duration_seconds",
        Unit::Seconds,
        "How long runs of jobs took that came to an end by themselves"
    );
}

/// What a job may carry: any owned value that goes through JSON.
pub trait Payload: Serialize + DeserializeOwned + Send + Sync + Unpin + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + Unpin + 'static> Payload for T {}

/// The name and the times of a queue. Producers and workers of one queue should agree on them.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// Name of the queue in its keys. Must not contain `}`.
    pub name: String,
    /// Prefix of the keys of an installation. Must not contain `{`.
    pub prefix: String,
    /// How long a job stays with a worker that sends no heartbeat.
    pub lease: Duration,
    /// How often a worker renews its leases; a third of `lease` tolerates a missed heartbeat.
    pub heartbeat: Duration,
    /// How often an idle worker claims jobs unless a push wakes it. A delayed job starts at most this late.
    pub poll: Duration,
    /// Pause after the first failed attempt. It doubles with each further one.
    pub backoff_base: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// How long the id of a done job stays known. Pushing it again within this time changes nothing.
    pub keep_done: Duration,
    /// Runs of a job, the first included, after which it is dead. Fixed when the job is pushed.
    pub max_attempts: u32,
    /// Longest run of a handler. A longer one is cancelled and counts as a failure.
    pub job_timeout: Duration,
    /// How long running jobs may continue at shutdown before they are released.
    pub grace: Duration,
}

impl QueueConfig {
    /// The settings for short jobs that talk to a database: lease 30 s, 10 attempts over about 9 minutes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefix: String::new(),
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            poll: Duration::from_millis(250),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_mins(5),
            keep_done: Duration::from_mins(10),
            max_attempts: 10,
            job_timeout: Duration::from_mins(1),
            grace: Duration::from_secs(20),
        }
    }
}

/// The job and the attempt that a handler is called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobContext {
    /// The id the job was pushed under.
    pub task_id: String,
    /// Number of this run, from 1.
    pub attempt: u32,
    /// The run after which the job is dead.
    pub max_attempts: u32,
}

impl<T: Sync> FromRequest<Task<T>> for JobContext {
    type Error = MissingDataError;

    async fn from_request(task: &Task<T>) -> Result<Self, Self::Error> {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Self {
            task_id: TaskId::from_request(task).await?.to_string(),
            attempt: number(task.attempt()),
            max_attempts: number(task.max_attempts().unwrap_or(1)),
        })
    }
}

/// Why a job failed, as what the queue does next.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Run the job again after a pause, unless this was the last attempt.
    #[error("{0}")]
    Retry(#[source] BoxDynError),
    /// The job is dead at once.
    #[error("{0}")]
    GiveUp(#[source] BoxDynError),
}

impl JobError {
    /// Run the job again later.
    pub fn retry(error: impl Into<BoxDynError>) -> Self {
        Self::Retry(error.into())
    }

    /// Do not run the job again.
    pub fn give_up(error: impl Into<BoxDynError>) -> Self {
        Self::GiveUp(error.into())
    }
}

/// An error of an operation on the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis refused or did not answer, or its URL is invalid.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The pool had no connection.
    #[error("redis pool: {0}")]
    Pool(#[from] deadpool_redis::PoolError),
    /// The pool and Redis took too long. The operation may still have happened.
    #[error("redis did not answer in time")]
    TimedOut,
    /// The payload cannot be written as JSON.
    #[error("payload: {0}")]
    Encode(#[source] serde_json::Error),
}
