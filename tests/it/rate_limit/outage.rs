//! What the rate limiter does while Redis is away, hangs or refuses, and when it is back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tempfile::NamedTempFile;
use tokio::net::UnixListener;

use super::{ALICE, BOB, app, ask, connect, is_counted, patient};
use crate::support::{program::eventually, redis::RedisServer};

#[tokio::test]
async fn a_killed_redis_lets_requests_pass_and_a_restarted_one_limits_again() {
    let log = NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    let _log_guard = tracing::subscriber::set_default(subscriber);
    // While there is but one subscriber, tracing asks only the thread that reaches a line first whether to
    // log it, and that may be another test's. So there are two.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
    let recorder = DebuggingRecorder::new();
    let _metrics_guard = metrics::set_default_local_recorder(&recorder);

    let redis = RedisServer::start();
    let app = app(patient(&redis).limit(1));
    assert!(is_counted(&ask(&app, ALICE).await));
    assert_eq!(ask(&app, ALICE).await.status(), StatusCode::TOO_MANY_REQUESTS);

    redis.kill();
    for _ in 0..50 {
        assert_passes_uncounted(&app).await;
    }
    redis.restart();
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
async fn a_restart_between_two_requests_goes_unnoticed() {
    let redis = RedisServer::start();
    let app = app(patient(&redis));
    assert!(is_counted(&ask(&app, ALICE).await));
    redis.kill();
    redis.restart();
    assert!(
        is_counted(&ask(&app, ALICE).await),
        "the dead connection is replaced within the request"
    );
}

#[tokio::test]
async fn a_redis_that_comes_after_the_application_limits_as_well() {
    let redis = RedisServer::start();
    redis.kill();
    let app = app(patient(&redis));
    for _ in 0..50 {
        assert_passes_uncounted(&app).await;
    }
    redis.restart();
    assert_limits_soon(&app).await;
}

#[tokio::test]
async fn an_outage_does_not_bring_a_connection_per_request() {
    let redis = RedisServer::start();
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
    let app = app(patient(&redis));
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
async fn a_redis_that_hangs_delays_requests_only_briefly() {
    let redis = RedisServer::start();
    let app = app(patient(&redis).timeout(Duration::from_millis(50)));
    assert_limits_soon(&app).await;

    redis.pause();
    let start = Instant::now();
    assert_passes_uncounted(&app).await;
    assert!(
        start.elapsed() >= Duration::from_millis(50),
        "it was given its time"
    );
    for _ in 0..100 {
        assert_passes_uncounted(&app).await;
    }
    assert!(
        start.elapsed() < 100 * Duration::from_millis(50),
        "the others did not wait: {:?}",
        start.elapsed()
    );
    redis.resume();
    assert_limits_soon(&app).await;
}

#[tokio::test]
async fn a_redis_that_was_hanging_from_the_start_does_no_harm() {
    let redis = RedisServer::start();
    redis.pause();
    let app = app(patient(&redis).timeout(Duration::from_millis(50)));
    assert_passes_uncounted(&app).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_passes_uncounted(&app).await;
    redis.resume();
    assert_limits_soon(&app).await;
}

#[tokio::test]
async fn a_redis_that_refuses_to_write_is_as_good_as_none() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let app = app(patient(&redis));
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

/// By itself.
async fn assert_limits_soon(app: &Router) {
    eventually("requests are counted", async || is_counted(&ask(app, BOB).await)).await;
}
