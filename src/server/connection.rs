//! One connection: what it is doing, and since when. It notes so as it goes, at the cost of a store; timers of its own would
//! cost more than many a request. `connections.rs` looks at the notes from time to time.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
    },
    task::{Context, Poll, Waker, ready},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, Request},
    http::{HeaderValue, Response, header},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::Service;

use super::connections::Clock;

/// The longest head, and about what a connection holds in memory. A head of more than a hundred fields is refused too.
const HEAD_LIMIT: usize = 64 * 1024;
/// How much a client may go on to send after its request was answered.
const LEFTOVER_LIMIT: usize = 2 * 1024 * 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// It is new, and has not sent the whole head of a request.
    Fresh,
    /// It is silent between two requests.
    Idle,
    /// It has sent a part of a head.
    Head,
    /// It has not sent all of a body that is waited for.
    Body,
    /// Its request is worked on, or answered with a stream.
    Work,
    /// Its answer is being sent, which has an end.
    Answer,
    /// It was answered before it had sent everything. If it were closed then, the client might not see the answer.
    Leftover,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Fresh,
        Self::Idle,
        Self::Head,
        Self::Body,
        Self::Work,
        Self::Answer,
        Self::Leftover,
    ];
}

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(super) enum Order {
    /// To go on.
    Go,
    /// To end with the request that is under way.
    Finish,
    /// To end now.
    End,
}

/// What is noted of a connection.
pub(super) struct Notes {
    clock: Arc<Clock>,
    /// The phase in the lowest byte, and above it the time since when.
    phase: AtomicU64,
    /// Since when the client takes nothing of what is sent to it; 0 if it does.
    stalled: AtomicU64,
    /// Whether the body of the request has not come to its end.
    body_open: AtomicBool,
    order: AtomicU8,
    /// Wakes the connection's task, which stays the same.
    task: OnceLock<Waker>,
}

impl Notes {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let notes = Self {
            clock,
            phase: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            body_open: AtomicBool::new(false),
            order: AtomicU8::new(Order::Go as u8),
            task: OnceLock::new(),
        };
        notes.enter(Phase::Fresh);
        notes
    }

    fn enter(&self, phase: Phase) {
        let noted = (self.clock.now() << 8) | phase as u64;
        self.phase.store(noted, Ordering::Relaxed);
    }

    /// The phase, and since when in milliseconds of the clock.
    pub(super) fn phase(&self) -> (Phase, u64) {
        let noted = self.phase.load(Ordering::Relaxed);
        let index = usize::try_from(noted & 0xff).unwrap_or(0);
        (Phase::ALL.get(index).copied().unwrap_or(Phase::Work), noted >> 8)
    }

    /// Since when the client takes nothing of what is sent to it.
    pub(super) fn stalled(&self) -> Option<u64> {
        Some(self.stalled.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    pub(super) fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    fn is_told(&self, order: Order) -> bool {
        self.order.load(Ordering::Acquire) >= order as u8
    }

    fn heard(&self) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        let stalled = self.stalled.load(Ordering::Relaxed) > 0;
        if written.is_ready() == stalled {
            let since = if stalled { 0 } else { self.clock.now() };
            self.stalled.store(since, Ordering::Relaxed);
        }
    }
}

/// Serves a connection to its end, or until it is told to end.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, app: Router, notes: Arc<Notes>) {
    let io = TokioIo::new(Line {
        stream,
        notes: notes.clone(),
        leftover: 0,
    });
    let shared = notes.clone();
    let service = service_fn(move |request| answer(request, peer, app.clone(), &shared));
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .max_header_size(HEAD_LIMIT)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        // Set before the order is read, as orders are given before this is read: one of the two is seen.
        if notes.task.get().is_none() {
            let _ = notes.task.set(cx.waker().clone());
            fence(Ordering::SeqCst);
        }
        if notes.is_told(Order::End) {
            return Poll::Ready(Ok(()));
        }
        // Of a head that has begun the rest may be on its way; its answer will end the connection.
        if !finishing
            && notes.is_told(Order::Finish)
            && !matches!(notes.phase().0, Phase::Fresh | Phase::Head)
        {
            finishing = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, %peer, "a connection failed");
    }
}

fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    mut app: Router,
    notes: &Arc<Notes>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
    let notes = notes.clone();
    notes.enter(Phase::Work);
    let has_body = !request.body().is_end_stream();
    notes.body_open.store(has_body, Ordering::Relaxed);
    let mut request = request.map(|body| {
        if has_body {
            Body::new(Receiving {
                body,
                notes: notes.clone(),
            })
        } else {
            Body::empty()
        }
    });
    request.extensions_mut().insert(ConnectInfo(peer));
    // Begun here rather than within the future: a request is large, and would be moved once more.
    let answering = app.call(request);
    async move {
        let mut response = answering.await?;
        // The body may have been waited for in vain.
        notes.enter(if has_end(&response) {
            Phase::Answer
        } else {
            Phase::Work
        });
        if notes.is_told(Order::Finish) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response.map(|body| Answer { body, notes }))
    }
}

/// Whether an answer is all there, or made of one that is; or else it is a stream.
fn has_end(response: &Response<Body>) -> bool {
    response.body().size_hint().exact().is_some() || response.headers().contains_key(header::CONTENT_ENCODING)
}

/// The body of a request.
struct Receiving {
    body: Incoming,
    notes: Arc<Notes>,
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let ended = matches!(polled, Poll::Ready(None)) || self.body.is_end_stream();
        if ended {
            self.notes.body_open.store(false, Ordering::Relaxed);
        }
        match (self.notes.phase().0, ended) {
            (Phase::Body, true) => self.notes.enter(Phase::Work),
            (Phase::Work, false) => self.notes.enter(Phase::Body),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

/// The body of an answer. It is dropped when all of it was handed over.
struct Answer {
    body: Body,
    notes: Arc<Notes>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.notes.enter(Phase::Idle);
    }
}

/// The bytes that come and go.
struct Line {
    stream: TcpStream,
    notes: Arc<Notes>,
    leftover: usize,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.notes.heard();
        }
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.notes.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.notes.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// To close a connection on which something has come that nobody read is to reset it, and the client may lose the
    /// answer that it has not yet seen. So what is left is taken first, within bounds.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.notes.phase().0 != Phase::Leftover {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.notes.body_open.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            this.notes.enter(Phase::Leftover);
        }
        let mut scratch = [0; 4096];
        while this.leftover < LEFTOVER_LIMIT {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                count => this.leftover += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}
