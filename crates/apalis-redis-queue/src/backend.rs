//! The apalis backend.

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
    scripts::{self, Claim, Claimed, Keys, Outcome},
};

/// The backend of one worker for a queue of `T`s.
///
/// It needs the concurrency layer of apalis with the same number of slots. [`super::work`] sets up both.
pub struct RedisBackend<T: Payload> {
    persisted: Persisted<Source<T>>,
    leases: Leases,
    lease_manager: Option<JoinHandle<()>>,
    /// The last claim was empty: the next one waits for a push or for the timer.
    idle: bool,
    timer: Pin<Box<Sleep>>,
}

impl<T: Payload> RedisBackend<T> {
    /// A backend that claims up to `slots` jobs at a time. It connects in the background, so it fails only for an
    /// invalid URL. Must be called within a Tokio runtime.
    pub fn connect(url: &str, config: QueueConfig, slots: usize) -> Result<Self, QueueError> {
        let keys = Keys::new(&config);
        let poll = config.poll;
        let (leases, lease_manager) = Leases::new(Link::new(url)?, keys, config);
        let source = Source {
            leases: leases.clone(),
            slots,
            decodes: PhantomData,
        };
        Ok(Self {
            persisted: Persisted::new(source),
            leases,
            lease_manager: Some(lease_manager),
            idle: false,
            timer: Box::pin(sleep(poll)),
        })
    }

    /// The task of the lease manager. It ends after the backend and all jobs are dropped and reported to Redis.
    pub(super) fn take_lease_manager(&mut self) -> Option<JoinHandle<()>> {
        self.lease_manager.take()
    }

    fn poll_wake_or_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let woken = self.leases.link().poll_woken(cx);
        let slept = self.timer.as_mut().poll(cx);
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

    /// Claims until no jobs are left, then idles. Otherwise each poll of the worker's task, such as for a job that
    /// waits for its database, would send a claim.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Task<T>, QueueError>>> {
        loop {
            if self.idle {
                ready!(self.poll_wake_or_timer(cx));
                self.idle = false;
            }
            let next = self.persisted.poll_next(cx, worker);
            let is_empty = next.is_pending() && matches!(self.persisted.state(), State::Ready);
            if !is_empty {
                return next;
            }
            self.idle = true;
            let poll = self.leases.config().poll;
            self.timer.as_mut().reset(Instant::now() + poll);
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), QueueError>> {
        self.persisted.poll_close(cx, worker)
    }
}

impl<T: Payload> BackendConfig for RedisBackend<T> {
    type Args = T;
    type Id = String;
    /// Tasks are decoded where they are claimed. The codec of apalis' durable kind ends the worker at the first
    /// payload that it cannot decode.
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

/// The source of tasks for [`Persisted`]. It never fails, because an error would end the worker.
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

    /// The lease manager renews leases: see [`super::leases`].
    async fn heartbeat(&mut self, _worker: &WorkerContext) -> Result<(), QueueError> {
        Ok(())
    }

    /// Claims a job for each free slot, so that none waits in a buffer behind a long one. Empty if Redis does not
    /// answer, which the link logs.
    async fn fetch_next(&mut self, _worker: &WorkerContext) -> Result<Vec<Task<T>>, QueueError> {
        loop {
            let claimed = self.leases.claim(self.slots).await.unwrap_or_default();
            let none_left = claimed.is_empty();
            let tasks: Vec<_> = claimed
                .into_iter()
                .filter_map(|(claim, job)| self.task(claim, job))
                .collect();
            if none_left || !tasks.is_empty() {
                return Ok(tasks);
            }
        }
    }

    /// The lease manager releases jobs that did not run.
    async fn reenqueue_abandoned(
        &mut self,
        _tasks: Vec<Task<T>>,
        _worker: &WorkerContext,
    ) -> Result<u64, QueueError> {
        Ok(0)
    }

    /// Results come through [`AcknowledgeLayer`] instead: with the error itself, and independent of polling.
    async fn handle_events(
        &mut self,
        _events: Vec<TaskEvent<()>>,
        _worker: &WorkerContext,
    ) -> Result<(), QueueError> {
        Ok(())
    }

    /// For tasks that apalis pushes. Other producers use [`super::Queue`].
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
                    // apalis counts an attempt at its start, and the claim already counted this one.
                    .attempt(job.attempt.saturating_sub(1) as usize)
                    .max_attempts(job.max_attempts as usize)
                    .data(claim)
                    .build(),
            ),
            Err(error) => {
                self.leases.end(
                    claim,
                    Outcome::GiveUp,
                    format!("broken payload: {}", text_of(&error)),
                );
                None
            }
        }
    }
}
