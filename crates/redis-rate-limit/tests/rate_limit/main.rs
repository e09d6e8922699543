//! The rate limiter in front of a small application, each test with its own Redis.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod outage;
mod window;

use std::{
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, Response, StatusCode},
    routing::get,
};
use devstack::Redis;
use http_body_util::BodyExt;
use redis::aio::MultiplexedConnection;
use redis_rate_limit::{RateLimitConfig, RateLimitLayer};
use tower::{Layer, Service, ServiceExt};

const ALICE: &str = "198.51.100.1";
const BOB: &str = "198.51.100.2";

#[tokio::test]
async fn each_client_has_its_own_quota_and_an_ipv6_64_shares_one() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 1,
            ..patient()
        },
    );
    assert_eq!(ask(&app, ALICE).await.status(), StatusCode::OK);
    assert_eq!(ask(&app, BOB).await.status(), StatusCode::OK);
    assert_eq!(
        ask(&app, "::ffff:198.51.100.1").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(ask(&app, "2001:db8:1:2:aaaa::1").await.status(), StatusCode::OK);
    assert_eq!(
        ask(&app, "2001:db8:1:2:bbbb::2").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(ask(&app, "2001:db8:1:3::1").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn x_forwarded_for_is_read_from_trusted_proxies_only() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 1,
            trusted_proxies: "10.0.0.0/8".parse().unwrap(),
            ..patient()
        },
    );
    let ask_for = async |peer: &str, forwarded: &str| {
        let mut request = request(Method::GET, peer);
        request
            .headers_mut()
            .insert("x-forwarded-for", forwarded.parse().unwrap());
        send(&app, request).await.status()
    };
    assert_eq!(ask_for(ALICE, "192.0.2.1").await, StatusCode::OK);
    assert_eq!(
        ask_for(ALICE, "192.0.2.2").await,
        StatusCode::TOO_MANY_REQUESTS,
        "forged by the client itself"
    );
    assert_eq!(ask_for("10.0.0.1", BOB).await, StatusCode::OK);
    assert_eq!(
        ask_for("10.0.0.1", "192.0.2.3, 198.51.100.2").await,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(ask_for("10.0.0.1", "198.51.100.3").await, StatusCode::OK);
}

#[tokio::test]
async fn remaining_counts_down_and_request_21_gets_429() {
    let redis = Redis::throwaway().unwrap();
    let app = app(&redis, patient());
    for remaining in (0..20).rev() {
        let answer = ask(&app, ALICE).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "x-ratelimit-limit"), "20");
        assert_eq!(header(&answer, "x-ratelimit-remaining"), remaining.to_string());
        let reset: u32 = header(&answer, "x-ratelimit-reset").parse().unwrap();
        assert!(
            if remaining == 19 {
                reset == 60
            } else {
                (50..=60).contains(&reset)
            },
            "{reset}"
        );
        assert_eq!(header(&answer, "ratelimit-policy"), r#""autocomplete";q=20;w=60"#);
        assert_eq!(
            header(&answer, "ratelimit"),
            format!(r#""autocomplete";r={remaining};t={reset}"#)
        );
        assert!(!answer.headers().contains_key("retry-after"));
        assert_eq!(text(answer).await, "served");
    }
    let answer = ask(&app, ALICE).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u32 = header(&answer, "retry-after").parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(header(&answer, "content-type"), "application/json");
    assert_eq!(header(&answer, "x-ratelimit-limit"), "20");
    assert_eq!(header(&answer, "x-ratelimit-remaining"), "0");
    assert_eq!(header(&answer, "x-ratelimit-reset"), wait.to_string());
    assert_eq!(header(&answer, "ratelimit-policy"), r#""autocomplete";q=20;w=60"#);
    assert_eq!(
        header(&answer, "ratelimit"),
        format!(r#""autocomplete";r=0;t={wait}"#)
    );
    assert_eq!(
        text(answer).await,
        format!(
            r#"{{"error":"Rate limit exceeded","detail":"Maximum 20 requests per 60 seconds allowed.","retry_after":{wait}}}"#
        )
    );
}

#[tokio::test]
async fn every_method_and_every_response_status_counts() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 2,
            ..patient()
        },
    );
    let head = send(&app, request(Method::HEAD, ALICE)).await;
    assert_eq!(header(&head, "x-ratelimit-remaining"), "1");
    let mut request = request(Method::GET, ALICE);
    *request.uri_mut() = "/?bad".parse().unwrap();
    let bad = send(&app, request).await;
    assert_eq!(
        (bad.status(), header(&bad, "x-ratelimit-remaining")),
        (StatusCode::BAD_REQUEST, "0".into())
    );
    assert_eq!(ask(&app, ALICE).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn disabled_limiter_does_not_call_redis() {
    let app = app_with(RateLimitLayer::disabled());
    let answer = ask(&app, ALICE).await;
    assert_eq!((answer.status(), is_counted(&answer)), (StatusCode::OK, false));
}

#[tokio::test]
async fn requests_without_a_peer_address_pass() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 0,
            ..patient()
        },
    );
    let answer = send(&app, Request::new(Body::empty())).await;
    assert_eq!((answer.status(), is_counted(&answer)), (StatusCode::OK, false));
}

#[tokio::test]
async fn calls_the_ready_service_and_passes_its_error_through() {
    let redis = Redis::throwaway().unwrap();
    let mut service = RateLimitLayer::new(client(&redis), patient()).layer(FailsWhenReady { ready: false });
    for _ in 0..2 {
        let answer = service
            .ready()
            .await
            .unwrap()
            .call(request(Method::GET, ALICE))
            .await;
        assert_eq!(answer.unwrap_err(), ServiceFailed);
    }
}

/// Panics if it is called before it is ready, and always fails.
struct FailsWhenReady {
    ready: bool,
}

#[derive(Debug, PartialEq)]
struct ServiceFailed;

impl Clone for FailsWhenReady {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<Body>> for FailsWhenReady {
    type Response = Response<Body>;
    type Error = ServiceFailed;
    type Future = std::future::Ready<Result<Response<Body>, ServiceFailed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ServiceFailed>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(self.ready, "called before it was ready");
        self.ready = false;
        std::future::ready(Err(ServiceFailed))
    }
}

/// The limiter of autocomplete, with a timeout that a busy test machine can keep.
fn patient() -> RateLimitConfig {
    RateLimitConfig {
        timeout: Duration::from_secs(10),
        ..RateLimitConfig::new("autocomplete")
    }
}

fn app(redis: &Redis, config: RateLimitConfig) -> Router {
    app_with(RateLimitLayer::new(client(redis), config))
}

fn app_with(limit: RateLimitLayer) -> Router {
    let handler = async |request: Request<Body>| match request.uri().query() {
        Some(_) => (StatusCode::BAD_REQUEST, "refused"),
        None => (StatusCode::OK, "served"),
    };
    Router::new().route("/", get(handler).layer(limit))
}

fn client(redis: &Redis) -> redis::Client {
    redis::Client::open(redis.url(0)).unwrap()
}

async fn connect(redis: &Redis) -> MultiplexedConnection {
    client(redis).get_multiplexed_async_connection().await.unwrap()
}

fn request(method: Method, peer: &str) -> Request<Body> {
    let peer: IpAddr = peer.parse().unwrap();
    let request = Request::builder().method(method).uri("/");
    request
        .extension(ConnectInfo(SocketAddr::new(peer, 50_000)))
        .body(Body::empty())
        .unwrap()
}

async fn ask(app: &Router, peer: &str) -> Response<Body> {
    send(app, request(Method::GET, peer)).await
}

async fn send(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

fn header(answer: &Response<Body>, name: &str) -> String {
    let value = answer
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("{name} is missing"));
    value.to_str().unwrap().to_owned()
}

async fn text(answer: Response<Body>) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_counted(answer: &Response<Body>) -> bool {
    answer
        .headers()
        .keys()
        .any(|name| name.as_str().contains("ratelimit"))
}
