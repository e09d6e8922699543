//! The span of a request: what all its log lines carry, and what a collector of traces gets.

use std::time::Duration;

use axum::{
    body::Body,
    extract::MatchedPath,
    http::{Request, Response},
};
use tower_http::trace::{DefaultOnResponse, OnResponse};
use tracing::{Span, field::Empty};

use crate::{http::REQUEST_ID, telemetry};

/// How much of a path and of a method a log line has, in bytes: each line of a request repeats them.
const LONGEST_PATH: usize = 256;
const LONGEST_METHOD: usize = 32;

/// Opens the span. Its level says that it is there even where only errors are logged: a failure without the id of its
/// request is hard to follow.
pub(super) fn open(request: &Request<Body>) -> Span {
    let request_id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let method = shortened(request.method().as_str(), LONGEST_METHOD);
    let path = shortened(request.uri().path(), LONGEST_PATH);
    if !telemetry::are_exported() {
        return tracing::error_span!(
            "request",
            request_id,
            method,
            path,
            order_id = Empty,
            actor = Empty
        );
    }
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let name = format!("{method} {route}");
    let span = tracing::error_span!(
        "request",
        otel.name = name.trim_end(),
        otel.kind = "server",
        request_id,
        method,
        path,
        route,
        order_id = Empty,
        actor = Empty,
        trace_id = Empty,
    );
    telemetry::join_trace(&span, request.headers());
    span
}

/// A line at level debug, and the status for the collector.
pub(super) fn answered(response: &Response<Body>, latency: Duration, span: &Span) {
    telemetry::finish_request(span, response.status());
    DefaultOnResponse::new().on_response(response, latency, span);
}

fn shortened(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}
