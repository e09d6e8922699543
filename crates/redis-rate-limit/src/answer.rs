//! The headers of counted responses, and the 429.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{layer::RateLimitConfig, window::Decision};

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The body of a 429; its field order is part of the contract with the clients.
#[derive(Debug, Serialize, ToSchema)]
pub struct Exceeded {
    #[schema(value_type = String)]
    error: &'static str,
    /// The limit and its window.
    detail: String,
    /// Seconds until a request may pass.
    retry_after: u64,
}

/// Adds the quota of the client as `X-RateLimit-*` and as fields of draft-ietf-httpapi-ratelimit-headers-11.
pub(super) fn write_headers(config: &RateLimitConfig, decision: &Decision, headers: &mut HeaderMap) {
    let RateLimitConfig {
        name, limit, window, ..
    } = config;
    let (remaining, reset) = (decision.remaining, whole_seconds(decision.reset));
    headers.insert(X_RATELIMIT_LIMIT, HeaderValue::from(*limit));
    headers.insert(X_RATELIMIT_REMAINING, HeaderValue::from(remaining));
    headers.insert(X_RATELIMIT_RESET, HeaderValue::from(reset));
    insert_text(
        headers,
        RATELIMIT_POLICY,
        &format!(r#""{name}";q={limit};w={}"#, whole_seconds(*window)),
    );
    insert_text(
        headers,
        RATELIMIT,
        &format!(r#""{name}";r={remaining};t={reset}"#),
    );
}

/// The 429 response.
pub(super) fn too_many_requests<B: From<String>>(
    config: &RateLimitConfig,
    decision: &Decision,
) -> Response<B> {
    let retry_after = whole_seconds(decision.reset);
    let body = Exceeded {
        error: "Rate limit exceeded",
        detail: format!(
            "Maximum {} requests per {} seconds allowed.",
            config.limit,
            whole_seconds(config.window)
        ),
        retry_after,
    };
    let body = serde_json::to_string(&body).expect("two texts and a number are always JSON");
    let mut response = Response::new(B::from(body));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
    write_headers(config, decision, headers);
    response
}

/// Rounded up: a client that returns slightly early would get another 429.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    seconds.max(1)
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).expect("the layer takes printable names only");
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::whole_seconds;

    #[test]
    fn seconds_are_rounded_up_to_at_least_one() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(
                whole_seconds(Duration::from_millis(milliseconds)),
                seconds,
                "{milliseconds} ms"
            );
        }
    }
}
