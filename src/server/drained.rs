//! The body of a request, which is read to its end even if it is refused.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::{runtime::Handle, time::timeout};

/// How much of a refused body is read, and for how long.
const DRAIN_LIMIT: usize = 2 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body whose rest is read and thrown away when the application drops it. Closing a connection with unread input resets
/// it, and a client that is still sending would lose the answer.
pub(super) struct Drained(Option<Incoming>);

impl Drained {
    pub(super) fn body(body: Incoming) -> Body {
        if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Self(Some(body)))
        }
    }
}

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let rest = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(timeout(DRAIN_TIME, async {
                let mut rest = Limited::new(rest, DRAIN_LIMIT);
                while let Some(Ok(_)) = rest.frame().await {}
            }));
        }
    }
}
