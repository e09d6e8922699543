//! The rate limiter while Redis is down, hangs or refuses writes, and after it is back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode};
use devstack::Redis;
use futures::FutureExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use redis_rate_limit::RateLimitConfig;
use tempfile::NamedTempFile;
use tokio::net::UnixListener;

use super::{ALICE, BOB, app, ask, connect, is_counted, patient};

#[tokio::test]
async fn requests_pass_while_redis_is_down_and_are_limited_after_restart() {
    let log = NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    let _log_guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber, tracing caches the interest of the thread that reaches a line first, which may be
    // another test's. A second subscriber turns the cache off.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
    let recorder = DebuggingRecorder::new();
    let _metrics_guard = metrics::set_default_local_recorder(&recorder);

    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 1,
            ..patient()
        },
    );
    assert!(is_counted(&ask(&app, ALICE).await));
    assert_eq!(ask(&app, ALICE).await.status(), StatusCode::TOO_MANY_REQUESTS);

    redis.kill();
    for _ in 0..50 {
        assert_passes_uncounted(&app).await;
    }
    redis.restart().unwrap();
    assert_limits_soon(&app).await;

    let log = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.matches("rate limiting is suspended").count(), 1, "{log}");
    assert_eq!(log.matches("rate limiting is back").count(), 1, "{log}");
    assert_eq!(log.lines().count(), 2, "{log}");
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let DebugValue::Counter(value) = value else {
            panic!("only counters")
        };
        let labels: Vec<_> = key
            .key()
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        counted.insert(format!("{}{{{}}}", key.key().name(), labels.join(",")), value);
    }
    assert!(
        counted["afforo_rate_limit_decisions_total{limiter=autocomplete,decision=failed}"] >= 50,
        "{counted:?}"
    );
    assert_eq!(
        counted["afforo_rate_limit_decisions_total{limiter=autocomplete,decision=allowed}"], 2,
        "{counted:?}"
    );
    assert_eq!(
        counted["afforo_rate_limit_decisions_total{limiter=autocomplete,decision=limited}"], 1,
        "{counted:?}"
    );
}

#[tokio::test]
async fn restart_between_two_requests_is_not_noticed() {
    let redis = Redis::throwaway().unwrap();
    let app = app(&redis, patient());
    assert!(is_counted(&ask(&app, ALICE).await));
    redis.kill();
    redis.restart().unwrap();
    assert!(
        is_counted(&ask(&app, ALICE).await),
        "the dead connection is replaced within the request"
    );
}

#[tokio::test]
async fn limiting_starts_once_redis_is_up() {
    let redis = Redis::throwaway().unwrap();
    redis.kill();
    let app = app(&redis, patient());
    for _ in 0..50 {
        assert_passes_uncounted(&app).await;
    }
    redis.restart().unwrap();
    assert_limits_soon(&app).await;
}

#[tokio::test]
async fn outage_does_not_cause_a_connection_per_request() {
    let redis = Redis::throwaway().unwrap();
    redis.kill();
    let socket = redis.socket();
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let connections = Arc::new(AtomicU32::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let app = app(&redis, patient());
    let start = Instant::now();
    for _ in 0..200 {
        assert_passes_uncounted(&app).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let allowed = 2 + u32::try_from(start.elapsed().as_millis() / 250).unwrap();
    let connections = connections.load(Ordering::Relaxed);
    assert!(
        (1..=allowed).contains(&connections),
        "{connections} connections, {allowed} allowed"
    );
}

#[tokio::test]
async fn hanging_redis_delays_requests_briefly() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            timeout: Duration::from_millis(50),
            ..patient()
        },
    );
    assert_limits_soon(&app).await;

    redis.pause();
    let start = Instant::now();
    assert_passes_uncounted(&app).await;
    assert!(
        start.elapsed() >= Duration::from_millis(50),
        "the first request waits for its timeout"
    );
    until_suspended(&app).await;
    for _ in 0..100 {
        assert!(passes_at_once(&app).await, "later requests do not wait");
    }
    redis.resume();
    assert_limits_soon(&app).await;
}

#[tokio::test]
async fn redis_hanging_from_the_start_does_not_block_requests() {
    let redis = Redis::throwaway().unwrap();
    redis.pause();
    let app = app(
        &redis,
        RateLimitConfig {
            timeout: Duration::from_millis(50),
            ..patient()
        },
    );
    assert_passes_uncounted(&app).await;
    until_suspended(&app).await;
    redis.resume();
    assert_limits_soon(&app).await;
}

#[tokio::test]
async fn requests_pass_while_redis_refuses_writes() {
    let redis = Redis::throwaway().unwrap();
    let mut connection = connect(&redis).await;
    let app = app(&redis, patient());
    assert!(is_counted(&ask(&app, ALICE).await));
    let () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(1)
        .query_async(&mut connection)
        .await
        .unwrap();
    for _ in 0..50 {
        assert_passes_uncounted(&app).await;
    }
    let () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(0)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_limits_soon(&app).await;
}

async fn assert_passes_uncounted(app: &Router) {
    let answer = ask(app, ALICE).await;
    assert_eq!((answer.status(), is_counted(&answer)), (StatusCode::OK, false));
}

/// Whether a request passes uncounted without waiting for anything.
async fn passes_at_once(app: &Router) -> bool {
    // Tokio makes a task wait that polls too often without yielding.
    tokio::task::yield_now().await;
    let answer = ask(app, ALICE).now_or_never();
    answer.is_some_and(|answer| answer.status() == StatusCode::OK && !is_counted(&answer))
}

/// Waits until the limiter knows that Redis is down.
async fn until_suspended(app: &Router) {
    let suspended = async {
        while !passes_at_once(app).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let suspended = tokio::time::timeout(Duration::from_secs(30), suspended).await;
    assert!(suspended.is_ok(), "requests wait for Redis");
}

/// The limiter recovers without a restart.
async fn assert_limits_soon(app: &Router) {
    let counted = async {
        while !is_counted(&ask(app, BOB).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(30), counted).await;
    assert!(counted.is_ok(), "requests pass uncounted");
}
