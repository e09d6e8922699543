//! The headers of counted responses, and the 429.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::window::{Decision, Policy};

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
pub(super) fn write_headers(policy: &Policy, decision: &Decision, headers: &mut HeaderMap) {
    let Policy {
        name, limit, window, ..
    } = policy;
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
pub(super) fn too_many_requests<B: From<String>>(policy: &Policy, decision: &Decision) -> Response<B> {
    let retry_after = whole_seconds(decision.reset);
    let body = Exceeded {
        error: "Rate limit exceeded",
        detail: format!(
            "Maximum {} requests per {} seconds allowed.",
            policy.limit,
            whole_seconds(policy.window)
        ),
        retry_after,
    };
    let body = serde_json::to_string(&body).expect("two texts and a number are always JSON");
    let mut response = Response::new(B::from(body));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
    write_headers(policy, decision, headers);
    response
}

/// Rounded up: a client that returns slightly early would get another 429.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    seconds.max(1)
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).expect("the builder takes printable names only");
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AUTOCOMPLETE: Policy = Policy {
        prefix: String::new(),
        name: "autocomplete",
        limit: 20,
        window: Duration::from_mins(1),
    };

    fn written(decision: Decision) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        write_headers(&AUTOCOMPLETE, &decision, &mut headers);
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        headers.iter().map(text).collect()
    }

    #[test]
    fn headers_report_the_quota_in_both_formats() {
        let decision = Decision {
            allowed: true,
            remaining: 19,
            reset: Duration::from_mins(1),
        };
        let expected = [
            ("x-ratelimit-limit", "20"),
            ("x-ratelimit-remaining", "19"),
            ("x-ratelimit-reset", "60"),
            ("ratelimit-policy", r#""autocomplete";q=20;w=60"#),
            ("ratelimit", r#""autocomplete";r=19;t=60"#),
        ];
        let mut headers = written(decision);
        let mut expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        headers.sort();
        expected.sort();
        assert_eq!(headers, expected);
    }

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

    #[test]
    fn body_and_headers_of_the_429_match_the_contract() {
        let decision = Decision {
            allowed: false,
            remaining: 0,
            reset: Duration::from_millis(41_001),
        };
        let response: Response<String> = too_many_requests(&AUTOCOMPLETE, &decision);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[RETRY_AFTER], "42");
        assert_eq!(response.headers()[X_RATELIMIT_REMAINING], "0");
        assert_eq!(response.headers()[X_RATELIMIT_RESET], "42");
        assert_eq!(response.headers()[RATELIMIT], r#""autocomplete";r=0;t=42"#);
        assert_eq!(
            response.body(),
            r#"{"error":"Rate limit exceeded","detail":"Maximum 20 requests per 60 seconds allowed.","retry_after":42}"#
        );
    }
}
