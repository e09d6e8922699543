//! Limits the memory of answers while they are sent, and the number of compressions at a time.
//!
//! An answer is in memory until its client has taken it. So the bytes of all answers are counted. Compressions are counted,
//! too: each uses a few hundred KiB.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::coop::poll_proceed,
    time::{Duration, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    ApiError,
    admission::{Overloaded, UNCOUNTED},
    client_share::semaphore,
    compression,
};

/// How much of an answer is passed on at a time, to the compressor or the connection.
const PORTION: usize = 16 * 1024;

/// The limits of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Responses {
    memory: Arc<Semaphore>,
    compressions: Arc<Semaphore>,
    sending: Duration,
    connection: Option<Connection>,
}

/// Closes the connection of a request. The server adds it to each request as an extension. Shared, because a clone of a token
/// takes a lock.
#[derive(Clone, Debug)]
pub struct Connection(pub Arc<CancellationToken>);

/// Marks an answer whose memory is counted, or shared by all answers with the same file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted;

impl Responses {
    /// Limits the bytes of all responses, without the first 8 KiB of each, and the compressions at a time. A client has the time
    /// `sending` to receive a long response.
    pub fn new(bytes: usize, compressions: usize, sending: Duration) -> Self {
        Self {
            memory: semaphore(bytes),
            compressions: semaphore(compressions),
            sending,
            connection: None,
        }
    }

    /// The same, for the answer to a request.
    pub fn to(&self, request: &Request) -> Self {
        let connection = request.extensions().get().cloned();
        Self {
            connection,
            ..self.clone()
        }
    }

    /// Refuses a request before any work is done for it, while answers take all the memory.
    pub fn admit(&self) -> Result<(), Overloaded> {
        if self.memory.available_permits() == 0 {
            return Err(Overloaded::Responses);
        }
        Ok(())
    }

    /// Counts the bytes of an answer until they are sent. A stream of unknown length is not counted: it must hold no more than
    /// one portion at a time.
    ///
    /// A read is refused if its answer does not fit. The answer to a write, which is done, is sent in any case: it takes what
    /// is left.
    pub async fn hold(&self, response: Response, is_write: bool) -> Response {
        let length = response
            .size_hint()
            .exact()
            .and_then(|length| usize::try_from(length).ok());
        let counted = length.unwrap_or(0).saturating_sub(UNCOUNTED);
        if counted == 0 || response.extensions().get::<Counted>().is_some() {
            return response;
        }
        // Boxed, so that the futures of short answers stay small.
        Box::pin(self.hold_long(response, counted, is_write)).await
    }

    async fn hold_long(&self, response: Response, counted: usize, is_write: bool) -> Response {
        let memory = self.acquire(counted);
        if memory.is_none() && !is_write {
            return ApiError::from(Overloaded::Responses).into_response();
        }
        let reservation = Reservation {
            _memory: memory.or_else(|| self.acquire(self.memory.available_permits())),
            _deadline: self.deadline(),
        };
        let (mut parts, body) = response.into_parts();
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => {
                parts.extensions.insert(Counted);
                let bytes = Bytes::from_owner(Held {
                    bytes,
                    _reservation: reservation,
                });
                Response::from_parts(parts, Body::new(Portions(bytes)))
            }
            Err(error) => ApiError::Internal(error.into()).into_response(),
        }
    }

    fn acquire(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.memory.clone().try_acquire_many_owned(bytes).ok()
    }

    /// Closes the connection when its client has not taken an answer in time.
    fn deadline(&self) -> Option<AbortOnDropHandle<()>> {
        let (Connection(connection), sending) = (self.connection.clone()?, self.sending);
        let deadline = tokio::spawn(async move {
            sleep(sending).await;
            connection.cancel();
        });
        Some(AbortOnDropHandle::new(deadline))
    }

    /// The same for a read, compressed if `gzip` and if not too many answers are being compressed.
    pub(super) async fn send(&self, response: Response, gzip: bool) -> Response {
        let response = self.hold(response, false).await;
        if !gzip || response.status() != StatusCode::OK {
            return response;
        }
        match self.compressions.clone().try_acquire_owned() {
            Ok(permit) => Box::pin(compression::gzip(response, permit)).await,
            Err(_) => response,
        }
    }
}

/// What an answer takes until its last byte is with the network.
struct Reservation {
    _memory: Option<OwnedSemaphorePermit>,
    _deadline: Option<AbortOnDropHandle<()>>,
}

/// The bytes of an answer, wherever they are on their way to the client, and the memory that is counted for them.
struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is passed on in portions. Between two of them, the thread may run other requests.
struct Portions(Bytes);

impl HttpBody for Portions {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        ready!(poll_proceed(cx)).made_progress();
        let length = self.0.len().min(PORTION);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
