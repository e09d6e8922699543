//! The span of a request, for its log lines and for a collector of traces.

use std::{pin::pin, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use tower_http::trace::{DefaultOnRequest, DefaultOnResponse, OnRequest, OnResponse};
use tracing::{Instrument, Span, field::Empty};

use crate::{http::REQUEST_ID, telemetry};

/// How many bytes of a path and of a method are logged: each line of a request repeats them.
const LONGEST_PATH: usize = 256;
const LONGEST_METHOD: usize = 32;

/// Answers a request within its span. Logs the request and the response at level debug, and records the status for the
/// collector. `ApiError` logs failures.
pub(super) async fn run(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let span = open(&request);
    let started = Instant::now();
    DefaultOnRequest::new().on_request(&request, &span);
    // Pinned here, so that the large future is not moved.
    let answering = pin!(answer(request));
    let mut answering = answering.instrument(span);
    let response = (&mut answering).await;
    let span = answering.span();
    telemetry::finish_request(span, response.status());
    DefaultOnResponse::new().on_response(&response, started.elapsed(), span);
    response
}

/// Opens the span, at level error: if only errors are logged, they still have the id of their request.
fn open(request: &Request) -> Span {
    let request_id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let method = shortened(request.method().as_str(), LONGEST_METHOD);
    let path = shortened(request.uri().path(), LONGEST_PATH);
    let span = tracing::error_span!(
        "request",
        otel.name = Empty,
        otel.kind = Empty,
        request_id,
        method,
        path,
        route = Empty,
        order_id = Empty,
        actor = Empty,
        trace_id = Empty,
    );
    if telemetry::are_exported() {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("", MatchedPath::as_str);
        span.record("otel.name", format!("{method} {route}").trim_end());
        span.record("otel.kind", "server");
        span.record("route", route);
        telemetry::join_trace(&span, request.headers());
    }
    span
}

fn shortened(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}
