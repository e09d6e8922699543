//! Limits the writes of one caller, in process memory: by API key, or by address without one.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
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
};
use redis_rate_limit::client_network;

const MINUTE: Duration = Duration::from_mins(1);
/// Callers with a limit of their own; further callers share one.
const MAX_WRITERS: usize = 10_000;

/// Allows each caller so many writes at once, and as many again in a minute, evenly. Without this extension of requests,
/// writes are not limited. Clones share the counts.
#[derive(Clone, Debug)]
pub struct WriteLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    per_minute: NonZeroU32,
    /// The theoretical arrival time of each writer: the generic cell rate algorithm.
    writers: Mutex<HashMap<Writer, Instant>>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Writer {
    Key(i64),
    Network(IpAddr),
    Other,
}

impl WriteLimit {
    /// A limit of so many writes a minute.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self(Arc::new(Inner {
            per_minute,
            writers: Mutex::default(),
        }))
    }

    /// Counts a write; beyond the limit, returns the 429.
    pub(super) fn refusal(request: &Request) -> Option<Response> {
        let Self(limit) = request.extensions().get::<Self>()?;
        let admitted = limit.admit(writer(request), Instant::now());
        let decision = if admitted.is_ok() { "allowed" } else { "limited" };
        counter!("afforo_rate_limit_decisions_total", "limiter" => "write", "decision" => decision)
            .increment(1);
        admitted.err().map(|wait| limit.too_many(wait))
    }
}

impl Inner {
    fn admit(&self, writer: Writer, now: Instant) -> Result<(), Duration> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = writer;
        if !writers.contains_key(&writer) && writers.len() >= MAX_WRITERS {
            writers.retain(|_, used_up| *used_up > now);
            if writers.len() >= MAX_WRITERS {
                writer = Writer::Other;
            }
        }
        let used_up = writers.entry(writer).or_insert(now);
        let next = (*used_up).max(now) + MINUTE / self.per_minute.get();
        let ahead = next.saturating_duration_since(now);
        match ahead.checked_sub(MINUTE) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *used_up = next;
                Ok(())
            }
        }
    }

    fn too_many(&self, wait: Duration) -> Response {
        let (limit, seconds) = (self.per_minute, wait.as_secs() + 1);
        let detail = format!("At most {limit} writes a minute are allowed. Try again in {seconds} seconds.");
        let mut response = ApiError::detail(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response
    }
}

fn writer(request: &Request) -> Writer {
    let extensions = request.extensions();
    let actor = extensions.get::<Caller>().map(|caller| &caller.grant.actor);
    if let Some(Actor::Key { id, .. }) = actor {
        return Writer::Key(*id);
    }
    let address = extensions.get::<Client>().and_then(|client| client.address);
    address.map_or(Writer::Other, |address| Writer::Network(client_network(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_minute: u32) -> Inner {
        Inner {
            per_minute: NonZeroU32::new(per_minute).unwrap(),
            writers: Mutex::default(),
        }
    }

    #[test]
    fn writes_pass_in_a_burst_and_then_evenly() {
        for per_minute in [1, 3, 7, 60, 10_000] {
            let (limit, now) = (limit(per_minute), Instant::now());
            for number in 0..per_minute {
                assert_eq!(
                    limit.admit(Writer::Key(1), now),
                    Ok(()),
                    "{number} of {per_minute}"
                );
            }
            let wait = limit.admit(Writer::Key(1), now).unwrap_err();
            assert!(wait <= MINUTE / per_minute && !wait.is_zero(), "{wait:?}");
            assert_eq!(limit.admit(Writer::Key(2), now), Ok(()));
            assert_eq!(limit.admit(Writer::Key(1), now + wait), Ok(()));
            assert!(limit.admit(Writer::Key(1), now + wait).is_err());
        }
    }

    #[test]
    fn writers_beyond_the_table_share_one_limit() {
        let (limit, now) = (limit(1), Instant::now());
        let id = |number: usize| Writer::Key(i64::try_from(number).unwrap());
        for number in 0..MAX_WRITERS {
            assert_eq!(limit.admit(id(number), now), Ok(()));
        }
        assert_eq!(limit.admit(id(MAX_WRITERS), now), Ok(()));
        assert!(limit.admit(id(MAX_WRITERS + 1), now).is_err());
        assert!(limit.writers.lock().unwrap().len() <= MAX_WRITERS + 1);
        assert_eq!(limit.admit(id(MAX_WRITERS + 1), now + MINUTE), Ok(()));
        assert!(limit.writers.lock().unwrap().len() <= 2);
    }
}
