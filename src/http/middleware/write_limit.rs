//! Limits the writes of one caller, in process memory: by API key, or by address without one.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::counter;

use crate::{
    audit::Actor,
    http::{ApiError, Caller, Client},
    keyed_limiter::{KeyedLimiter, MAX_KEYS},
};
use redis_rate_limit::client_network;

/// Limits the writes of each caller. Clones share the counts.
#[derive(Clone, Debug)]
pub struct WriteLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    per_minute: NonZeroU32,
    writers: KeyedLimiter<Writer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    Key(i64),
    Network(IpAddr),
}

impl WriteLimit {
    /// Allows a burst of `per_minute` writes, and then as many per minute, evenly.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self(Arc::new(Inner {
            per_minute,
            writers: KeyedLimiter::new(per_minute.get(), Duration::from_mins(1), MAX_KEYS),
        }))
    }

    /// Counts a write; beyond the limit, returns the 429.
    pub(super) fn refusal(&self, request: &Request) -> Option<Response> {
        let Self(limit) = self;
        let admitted = limit.writers.admit(writer(request), Instant::now());
        let decision = if admitted.is_ok() { "allowed" } else { "limited" };
        counter!("afforo_rate_limit_decisions_total", "limiter" => "write", "decision" => decision)
            .increment(1);
        admitted.err().map(|wait| limit.too_many(wait))
    }
}

impl Inner {
    fn too_many(&self, wait: Duration) -> Response {
        let (limit, seconds) = (self.per_minute, wait.as_secs() + 1);
        let detail = format!("At most {limit} writes a minute are allowed. Try again in {seconds} seconds.");
        let mut response = ApiError::detail(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response
    }
}

/// `None` for a client without a key whose address is unknown.
fn writer(request: &Request) -> Option<Writer> {
    let extensions = request.extensions();
    let actor = extensions.get::<Caller>().map(|caller| &caller.grant.actor);
    if let Some(Actor::Key { id, .. }) = actor {
        return Some(Writer::Key(*id));
    }
    let address = extensions.get::<Client>()?.address?;
    Some(Writer::Network(client_network(address)))
}
