//! The queue as apalis sees it.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use apalis_core::{
    backend::{
        Backend, BackendConfig,
        finalize::Ephemeral,
        persistence::{Persisted, Persistence, State, TaskEvent},
    },
    task::{Task, builder::TaskBuilder, task_id::TaskId},
    worker::{context::WorkerContext, ext::ack::AcknowledgeLayer},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep, sleep},
};
use uuid::Uuid;

use super::{
    Payload, QueueConfig, QueueError,
    leases::{Leases, text_of},
    link::Link,
    scripts::{self, Claim, Claimed, Keys, Verdict},
};

/// One worker's access to a queue of `T`s. A backend serves one worker; make another for the next.
///
/// It needs apalis' own concurrency layer with as many slots as [`RedisBackend::connect`] was told.
/// [`super::work`] puts all of it together.
pub struct RedisBackend<T: Payload> {
    persisted: Persisted<Source<T>>,
    leases: Leases,
    keeper: Option<JoinHandle<()>>,
    /// The last claim came back empty: the next one waits for a wake-up or for the poll.
    resting: bool,
    rest: Pin<Box<Sleep>>,
}

impl<T: Payload> RedisBackend<T> {
    /// A backend that claims up to `slots` jobs at a time. Connects in the background and whenever Redis
    /// is there; fails only if `url` is no Redis URL. Must be called within a Tokio runtime.
    pub fn connect(url: &str, config: QueueConfig, slots: usize) -> Result<Self, QueueError> {
        let keys = Keys::new(&config);
        let poll = config.poll;
        let (leases, keeper) = Leases::new(Link::new(url)?, keys, config);
        let source = Source {
            leases: leases.clone(),
            slots,
            decodes: PhantomData,
        };
        Ok(Self {
            persisted: Persisted::new(source),
            leases,
            keeper: Some(keeper),
            resting: false,
            rest: Box::pin(sleep(poll)),
        })
    }

    /// The task that ends once the backend and all its jobs are dropped and Redis knows about them.
    pub(super) fn take_keeper(&mut self) -> Option<JoinHandle<()>> {
        self.keeper.take()
    }

    fn poll_rested(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let woken = self.leases.link().poll_woken(cx);
        let slept = self.rest.as_mut().poll(cx);
        if woken.is_ready() || slept.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<T: Payload> Backend for RedisBackend<T> {
    type Task = Task<T>;
    type Error = QueueError;

    fn poll_ready(&mut self, cx: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), QueueError>> {
        let heartbeat = self.leases.config().heartbeat;
        self.persisted.poll_ready(cx, worker, heartbeat)
    }

    /// Claims until nothing is left, then rests. Without the rest every wake-up of the worker's task, say
    /// by a running job that waits for its database, would ask Redis again.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Task<T>, QueueError>>> {
        loop {
            if self.resting {
                ready!(self.poll_rested(cx));
                self.resting = false;
            }
            let next = self.persisted.poll_next(cx, worker);
            let came_back_empty = next.is_pending() && matches!(self.persisted.state(), State::Ready);
            if !came_back_empty {
                return next;
            }
            self.resting = true;
            let poll = self.leases.config().poll;
            self.rest.as_mut().reset(Instant::now() + poll);
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), QueueError>> {
        self.persisted.poll_close(cx, worker)
    }
}

impl<T: Payload> BackendConfig for RedisBackend<T> {
    type Args = T;
    type Id = String;
    /// Nothing is to be done to the tasks any more: they are decoded where they are claimed. The codec of
    /// apalis' durable kind would end the worker at the first payload that it cannot decode.
    type Kind = Ephemeral;
    type Config = QueueConfig;
    type Layer = AcknowledgeLayer<Leases>;

    fn config(&self) -> &QueueConfig {
        self.leases.config()
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> Self::Layer {
        AcknowledgeLayer::new(self.leases.clone())
    }
}

/// Where [`Persisted`] gets its tasks from. It never fails, as a failure would end the worker.
struct Source<T> {
    leases: Leases,
    slots: usize,
    decodes: PhantomData<fn() -> T>,
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        Self {
            leases: self.leases.clone(),
            slots: self.slots,
            decodes: PhantomData,
        }
    }
}

impl<T: Payload> Persistence for Source<T> {
    type Compact = T;
    type Response = ();
    type Error = QueueError;

    async fn register(&mut self, _worker: &WorkerContext) -> Result<(), QueueError> {
        Ok(())
    }

    /// Leases are renewed by their keeper, see [`super::leases`].
    async fn heartbeat(&mut self, _worker: &WorkerContext) -> Result<(), QueueError> {
        Ok(())
    }

    /// As many jobs as there are free slots, so that each of them starts at once and none waits in a buffer
    /// behind a long one. Empty if Redis does not answer, which the link has logged.
    async fn fetch_next(&mut self, _worker: &WorkerContext) -> Result<Vec<Task<T>>, QueueError> {
        loop {
            let claimed = self.leases.claim(self.slots).await.unwrap_or_default();
            let nothing_left = claimed.is_empty();
            let tasks: Vec<_> = claimed
                .into_iter()
                .filter_map(|(claim, job)| self.task(claim, job))
                .collect();
            if nothing_left || !tasks.is_empty() {
                return Ok(tasks);
            }
        }
    }

    /// The keeper returns whatever did not run.
    async fn reenqueue_abandoned(
        &mut self,
        _tasks: Vec<Task<T>>,
        _worker: &WorkerContext,
    ) -> Result<u64, QueueError> {
        Ok(0)
    }

    /// The ends of jobs come through [`AcknowledgeLayer`]: with the error itself, and independent of when
    /// apalis polls.
    async fn handle_events(
        &mut self,
        _events: Vec<TaskEvent<()>>,
        _worker: &WorkerContext,
    ) -> Result<(), QueueError> {
        Ok(())
    }

    /// For tasks that come from apalis itself; everyone else has [`super::Queue`].
    async fn push_tasks(&mut self, tasks: Vec<Task<T>>) -> Result<(), QueueError> {
        let leases = &self.leases;
        for task in tasks {
            let id = task
                .task_id()
                .map_or_else(|| Uuid::now_v7().to_string(), ToString::to_string);
            let job = (
                id.as_str(),
                serde_json::to_vec(&task.args).map_err(QueueError::Encode)?,
            );
            let push = async |redis: &mut _| {
                scripts::push(redis, leases.keys(), leases.config(), Duration::ZERO, &[job]).await
            };
            leases.link().run(push).await?;
        }
        Ok(())
    }
}

impl<T: Payload> Source<T> {
    fn task(&self, claim: Claim, job: Claimed) -> Option<Task<T>> {
        match serde_json::from_slice(&job.payload) {
            Ok(payload) => Some(
                TaskBuilder::new(payload)
                    .task_id(TaskId::from_string(job.id))
                    // apalis counts an attempt when it starts; the claim has counted this one.
                    .attempt(job.attempt.saturating_sub(1) as usize)
                    .max_attempts(job.max_attempts as usize)
                    .data(claim)
                    .build(),
            ),
            Err(error) => {
                self.leases.end(
                    claim,
                    Verdict::GiveUp,
                    format!("broken payload: {}", text_of(&error)),
                );
                None
            }
        }
    }
}
