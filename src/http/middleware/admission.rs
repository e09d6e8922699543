//! Admits a request or refuses it under load, and answers it in bounded time.

use std::{pin::pin, time::Duration};

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{RouteClass, panic};
use crate::{
    db,
    http::{
        AdmissionControl, AdmissionLimits, ApiError, Client, Limits, Overloaded, Permit, Responses, Work,
    },
};

/// How long a write may continue after its client was answered 503. PostgreSQL ends each statement within half a minute, so a
/// write that takes longer waits for a database that does not respond. It is ended to free its connection.
const UNRESPONSIVE: Duration = Duration::from_mins(2);

/// Runs requests within the limits of a server.
pub(super) struct Admission {
    control: AdmissionControl,
    responses: Responses,
    /// How long a read may take.
    reading: Duration,
    /// How long a client waits for the response to a write.
    writing: Duration,
    /// The tasks of running writes; a stopping server waits for them.
    writes: TaskTracker,
}

impl Admission {
    pub fn new(limits: &Limits, writes: TaskTracker) -> Self {
        let AdmissionLimits {
            response_bytes,
            compressions,
            ..
        } = limits.admission;
        Self {
            control: AdmissionControl::new(limits.admission),
            responses: Responses::new(response_bytes, compressions, limits.sending),
            reading: limits.reading,
            writing: limits.writing,
            writes,
        }
    }

    /// Answers a request, or refuses it under load.
    pub async fn run(&self, mut request: Request, next: Next, class: RouteClass) -> Response {
        let is_write = !request.method().is_safe();
        let Some(work) = class.work(&request) else {
            return panic::run(request, next).await;
        };
        let permit = match self.admit(&request, work) {
            Ok(permit) => permit,
            Err(overloaded) => return ApiError::from(overloaded).into_response(),
        };
        let responses = self.responses.to(&request);
        let response = if is_write {
            request.extensions_mut().insert(permit.clone());
            self.write(request, next, permit, work).await
        } else {
            request.extensions_mut().insert(responses.clone());
            self.read(request, next, permit).await
        };
        responses.hold(response, is_write).await
    }

    fn admit(&self, request: &Request, work: Work) -> Result<Permit, Overloaded> {
        // Orders have short answers: long answers to other requests do not keep them out.
        if work == Work::Pooled {
            self.responses.admit()?;
        }
        let client = request.extensions().get::<Client>();
        let address = client.and_then(|client| client.address);
        self.control.admit(work, address)
    }

    /// Ends a read that takes too long. Its transaction is rolled back on the way into the pool.
    async fn read(&self, request: Request, next: Next, permit: Permit) -> Response {
        let reading = pin!(async {
            permit.wait_for_connection().await;
            panic::run(request, next).await
        });
        let answer = timeout(self.reading, reading).await;
        answer.unwrap_or_else(|_| {
            ApiError::Unavailable("The request took too long, try again later.").into_response()
        })
    }

    /// Runs a write in a task of its own: a client that disconnects ends the wait for the answer, not the write, so that no
    /// transaction is cut off halfway.
    async fn write(&self, request: Request, next: Next, permit: Permit, work: Work) -> Response {
        let bound = self.writing + UNRESPONSIVE;
        let work = async move {
            let answer = timeout(bound, async {
                permit.wait_for_connection().await;
                panic::run(request, next).await
            });
            // A lane itself repeats orders on another database host. Other writes may wait for the host before.
            let answer = match work {
                Work::Queued => answer.await.ok(),
                Work::Pooled => db::until_grace_ends(answer).await.and_then(Result::ok),
            };
            answer.unwrap_or_else(|| {
                tracing::error!("write timed out: database unresponsive");
                outcome_unknown()
            })
        };
        // Boxed: tokio copies the future of a task several times.
        let work = self.writes.spawn(Box::pin(work.in_current_span()));
        match timeout(self.writing, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => ApiError::Internal(error.into()).into_response(),
            Err(_) => {
                tracing::error!("write timed out for its client; the write continues");
                outcome_unknown()
            }
        }
    }
}

fn outcome_unknown() -> Response {
    ApiError::detail(
        StatusCode::SERVICE_UNAVAILABLE,
        "The request took too long, and may still take effect. Check before retrying, or retry under the same Idempotency-Key.",
    )
    .into_response()
}
