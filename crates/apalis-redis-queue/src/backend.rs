//! The apalis backend.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, builder::TaskBuilder, task_id::TaskId},
    worker::{context::WorkerContext, ext::ack::AcknowledgeLayer},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep, sleep},
};

use super::{
    Payload, QueueConfig, QueueError,
    leases::{Leases, text_of},
    link::Link,
    scripts::{Claim, Claimed, Keys, Outcome},
};

/// The backend of one worker for a queue of `T`s. It never fails, because an error would end the worker.
///
/// It needs the concurrency layer of apalis with the same number of slots. [`super::work`] sets up both. The lease manager
/// renews leases and releases jobs that did not run: see `leases.rs`.
pub struct RedisBackend<T: Payload> {
    leases: Leases,
    lease_manager: Option<JoinHandle<()>>,
    slots: usize,
    /// The claim under way.
    claim: Option<BoxFuture<'static, VecDeque<Task<T>>>>,
    claimed: VecDeque<Task<T>>,
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
        Ok(Self {
            leases,
            lease_manager: Some(lease_manager),
            slots,
            claim: None,
            claimed: VecDeque::new(),
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

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), QueueError>> {
        Poll::Ready(Ok(()))
    }

    /// Claims until no jobs are left, then idles. Otherwise each poll of the worker's task, such as for a job that
    /// waits for its database, would send a claim.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<T>, QueueError>>> {
        loop {
            if let Some(task) = self.claimed.pop_front() {
                return Poll::Ready(Some(Ok(task)));
            }
            if self.idle {
                ready!(self.poll_wake_or_timer(cx));
                self.idle = false;
            }
            let claim = self
                .claim
                .get_or_insert_with(|| claim_tasks(self.leases.clone(), self.slots).boxed());
            self.claimed = ready!(claim.poll_unpin(cx));
            self.claim = None;
            self.idle = self.claimed.is_empty();
            let poll = self.leases.config().poll;
            self.timer.as_mut().reset(Instant::now() + poll);
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), QueueError>> {
        Poll::Ready(Ok(()))
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

/// Claims a job for each free slot, so that none waits in a buffer behind a long one. Empty if Redis does not answer,
/// which the link logs.
async fn claim_tasks<T: Payload>(leases: Leases, slots: usize) -> VecDeque<Task<T>> {
    loop {
        let claimed = leases.claim(slots).await.unwrap_or_default();
        let none_left = claimed.is_empty();
        let tasks: VecDeque<_> = claimed
            .into_iter()
            .filter_map(|(claim, job)| task(&leases, claim, job))
            .collect();
        if none_left || !tasks.is_empty() {
            return tasks;
        }
    }
}

fn task<T: Payload>(leases: &Leases, claim: Claim, job: Claimed) -> Option<Task<T>> {
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
            let error = format!("broken payload: {}", text_of(&error));
            leases.end(claim, Outcome::GiveUp, error);
            None
        }
    }
}
