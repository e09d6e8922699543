//! Counts requests by the route that they match.
//!
//! Labels are bounded: all paths without a route share one label, as do all methods that HTTP does not define.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{Method, StatusCode},
};
use metrics::{Gauge, Label, counter, gauge, histogram};

/// The methods that have a label of their own.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The label of all other methods, and of all paths without a route.
const OTHER: &str = "other";

/// nginx' status for a client that left before the answer.
const CLIENT_LEFT: u16 = 499;

/// A request in flight. It is counted on drop, which includes requests whose client left.
pub(super) struct InFlight {
    labels: Vec<Label>,
    started: Instant,
    status: u16,
    gauge: Gauge,
}

impl InFlight {
    /// Counts a request as in flight.
    pub fn new(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or(OTHER, MatchedPath::as_str);
        let gauge = gauge!("afforo_http_requests_in_flight");
        gauge.increment(1.0);
        Self {
            labels: vec![
                Label::from_static_parts("method", method(request.method())),
                Label::new("route", route.to_owned()),
            ],
            started: Instant::now(),
            status: CLIENT_LEFT,
            gauge,
        }
    }

    /// The request was answered.
    pub fn answered(mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        let mut labels = std::mem::take(&mut self.labels);
        histogram!("afforo_http_request_duration_seconds", labels.clone()).record(self.started.elapsed());
        labels.push(Label::new("status", self.status.to_string()));
        counter!("afforo_http_requests_total", labels).increment(1);
    }
}

fn method(method: &Method) -> &'static str {
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or(OTHER)
}
