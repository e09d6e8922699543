//! A request's way through the server: it is taken on or refused, and answered in bounded time.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::limits::Limits;
use crate::http::{ApiError, Client, Intake, Responses, Shed, Turn, Work};

/// A write that goes on for so much longer waits for a database that is gone without a word: PostgreSQL ends each of its
/// statements within half a minute. It is given up, so that it does not keep its connection from others.
const GONE: Duration = Duration::from_mins(2);

/// What runs requests. Clones share it.
#[derive(Clone)]
pub(super) struct Workshop(Arc<Inner>);

struct Inner {
    intake: Intake,
    responses: Responses,
    reading: Duration,
    writing: Duration,
    writes: TaskTracker,
}

impl Workshop {
    pub(super) fn new(limits: &Limits, writes: TaskTracker) -> Self {
        Self(Arc::new(Inner {
            intake: Intake::new(limits.intake),
            responses: Responses::new(
                limits.intake.response_bytes,
                limits.intake.compressions,
                limits.sending,
            ),
            reading: limits.reading,
            writing: limits.writing,
            writes,
        }))
    }

    /// Answers a request, unless there is too much to do.
    pub(super) async fn run(&self, mut request: Request, next: Next) -> Response {
        if is_asked_by_operators(request.uri().path()) {
            return next.run(request).await;
        }
        let turn = match self.admit(&request) {
            Ok(turn) => turn,
            Err(shed) => return ApiError::from(shed).into_response(),
        };
        let is_write = !request.method().is_safe();
        let responses = self.0.responses.to(&request);
        let response = if is_write {
            request.extensions_mut().insert(turn.clone());
            self.finish_writes(request, next, turn).await
        } else {
            request.extensions_mut().insert(responses.clone());
            // What is read is rolled back on its way into the pool.
            let work = async {
                turn.wait_for_share().await;
                next.run(request).await
            };
            let answer = timeout(self.0.reading, work).await;
            drop(turn);
            answer.unwrap_or_else(|_| {
                ApiError::Unavailable("The request took too long, try again later.").into_response()
            })
        };
        responses.hold(response, is_write).await
    }

    fn admit(&self, request: &Request) -> Result<Turn, Shed> {
        let work = work_of(request);
        // Orders have short answers: long ones of others do not keep them out.
        if work == Work::Pooled {
            self.0.responses.admit()?;
        }
        let client = request.extensions().get::<Client>();
        let address = client.and_then(|client| client.address);
        self.0.intake.admit(work, address)
    }

    /// Runs whatever may write in a task of its own: a client that goes away ends the wait for the answer, not the work, and
    /// no transaction is left halfway.
    async fn finish_writes(&self, request: Request, next: Next, turn: Turn) -> Response {
        let bound = self.0.writing + GONE;
        let work = async move {
            let answer = timeout(bound, async {
                turn.wait_for_share().await;
                next.run(request).await
            });
            let answer = answer.await;
            drop(turn);
            answer.unwrap_or_else(|_| {
                tracing::error!("a write was given up: its database is gone without a word");
                no_answer()
            })
        };
        let work = self.0.writes.spawn(work.in_current_span());
        match timeout(self.0.writing, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => ApiError::Internal(error.into()).into_response(),
            Err(_) => {
                tracing::error!("a write goes on for longer than its answer is waited for");
                no_answer()
            }
        }
    }
}

fn no_answer() -> Response {
    ApiError::detail(
        StatusCode::SERVICE_UNAVAILABLE,
        "There is no answer yet, and whether this will be done is not known. Look before you try again, or repeat the request under the same Idempotency-Key.",
    )
    .into_response()
}

/// Whoever looks after the server is answered however much there is to do.
fn is_asked_by_operators(path: &str) -> bool {
    path.starts_with("/health/") || path == "/metrics" || path == "/metrics/"
}

fn work_of(request: &Request) -> Work {
    if request.method() == Method::POST && request.uri().path() == "/api/orders/" {
        Work::Queued
    } else {
        Work::Pooled
    }
}
