//! What answers may take: memory while they are sent, and compressions at a time.
//!
//! An answer is in memory until its client has taken it, however slowly. So the bytes of all answers are counted, and
//! compressions too: each holds a few hundred KiB of its own.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::Semaphore,
    task::coop::poll_proceed,
    time::{Duration, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::{CompressionLevel, compression::CompressionLayer};

use super::{
    ApiError,
    intake::{Bounded, SMALL_BODY, Shed},
};

/// How much of an answer is handed over at a time: what is compressed, or waits for the network, is no more than that.
const PORTION: usize = 16 * 1024;

/// The memory of the answers of a server, and its compressions. Clones share it.
#[derive(Clone, Debug)]
pub struct Responses {
    memory: Arc<Bounded>,
    compressions: Arc<Semaphore>,
    sending: Duration,
    connection: Option<Connection>,
}

/// Closes the connection of a request. The server adds it to each request as an extension.
#[derive(Clone, Debug)]
pub struct Connection(pub CancellationToken);

/// Marks an answer whose memory is counted, or shared with all others of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted;

impl Responses {
    /// So many bytes at a time, counting of each answer what is beyond its first 8 KiB, and so many compressions. A client
    /// has the time `sending` to take a long answer.
    #[must_use]
    pub fn new(bytes: usize, compressions: usize, sending: Duration) -> Self {
        Self {
            memory: Arc::new(Bounded::new(bytes)),
            compressions: Arc::new(Semaphore::new(compressions)),
            sending,
            connection: None,
        }
    }

    /// The same, for the answer to a request.
    #[must_use]
    pub fn to(&self, request: &Request) -> Self {
        let connection = request.extensions().get().cloned();
        Self {
            connection,
            ..self.clone()
        }
    }

    /// Refuses a request before any work is done for it, while answers take all the memory that there is for them.
    pub fn admit(&self) -> Result<(), Shed> {
        if self.memory.is_exhausted() {
            return Err(Shed::Responses);
        }
        Ok(())
    }

    /// Counts the bytes of an answer until they are sent. A stream of unknown length counts for nothing: it must hold no more
    /// than a portion at a time.
    ///
    /// What was read is refused if there is no room for it. The answer to a write is sent in any case, as the write is done:
    /// then there is no room for others.
    pub async fn hold(&self, response: Response, is_write: bool) -> Response {
        let length = response
            .size_hint()
            .exact()
            .and_then(|length| usize::try_from(length).ok());
        let counted = length.unwrap_or(0).saturating_sub(SMALL_BODY);
        if counted == 0 || response.extensions().get::<Counted>().is_some() {
            return response;
        }
        // Most answers are short, and need not carry the room for this.
        Box::pin(self.hold_long(response, counted, is_write)).await
    }

    async fn hold_long(&self, response: Response, counted: usize, is_write: bool) -> Response {
        if is_write {
            self.memory.take_anyway(counted);
        } else if !self.memory.take(counted) {
            return ApiError::from(Shed::Responses).into_response();
        }
        let room = Room {
            memory: self.memory.clone(),
            counted,
            _deadline: self.deadline(),
        };
        let (mut parts, body) = response.into_parts();
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => {
                parts.extensions.insert(Counted);
                let bytes = Bytes::from_owner(Held { bytes, _room: room });
                Response::from_parts(parts, Body::new(Portions(bytes)))
            }
            Err(error) => ApiError::Internal(error.into()).into_response(),
        }
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

    /// Compresses an answer with gzip; it stays as it is where too many are being compressed.
    pub(super) async fn compress(&self, response: Response) -> Response {
        let Ok(permit) = self.compressions.clone().try_acquire_owned() else {
            return response;
        };
        let mut request = Request::new(Body::empty());
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
        let mut response = Some(response);
        let answered = service_fn(move |_: Request| {
            let response = response.take().unwrap_or_default();
            async { Ok::<_, Infallible>(response) }
        });
        let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
        let Ok(response) = compression.layer(answered).oneshot(request).await;
        // The permit lives as long as the compressor.
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &permit;
                frame
            }))
        })
    }
}

/// Room that an answer takes. It is given back when this is dropped.
struct Room {
    memory: Arc<Bounded>,
    counted: usize,
    _deadline: Option<AbortOnDropHandle<()>>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.give_back(self.counted);
    }
}

/// The bytes of an answer, wherever they are on their way to the client, and the room that they take.
struct Held {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is handed over in portions, so that a long one keeps its thread from other requests for a portion at a time.
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
