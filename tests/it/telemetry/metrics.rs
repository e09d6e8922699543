//! `/metrics`

#![allow(clippy::float_cmp, reason = "numbers of requests")]

use std::collections::BTreeMap;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use sqlx::{Postgres, Transaction};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{metrics_url, of, scrape, serve};
use crate::support::{
    app::{TestApp, client, order, send},
    program::{Running, afforo, eventually, on, run},
};

const METRICS: (&str, &str) = ("METRICS_ADDR", "127.0.0.1:0");

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 3).await;
    let mut server = serve(&app, &[METRICS]);
    let metrics = metrics_url(&mut server).await;
    let base = format!("http://{}", server.address().await);
    let ask = async |method: &str, path: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        send(client().request(method, format!("{base}{path}"))).await
    };
    for _ in 0..3 {
        ask("GET", "/api/products/").await;
        ask("GET", &format!("/api/products/{product}/")).await;
    }
    ask("GET", "/api/products/999999/").await;
    ask("HEAD", "/api/stores").await;
    ask("DELETE", "/api/orders/").await;
    ask("BREW", "/api/orders/").await;
    ask("BREW", "/health/").await;
    for path in [
        "/nowhere/",
        "/api/nowhere/",
        "/favicon.ico",
        "/api/products/1/2/3/",
        "/api/lamps/",
    ] {
        ask("GET", path).await;
        ask("BREW", path).await;
    }
    let orders = format!("{base}/api/orders/");
    for quantity in [2, 2, 1] {
        send(client().post(&orders).json(&order(store, &[(product, quantity)]))).await;
    }
    send(client().post(&orders).json(&json!({}))).await;

    let scraped = scrape(&metrics).await;
    let expected = [
        (r#"{method="GET",route="/api/products/",status="200"}"#, 3.0),
        (r#"{method="GET",route="/api/products/{id}/",status="200"}"#, 3.0),
        (r#"{method="GET",route="/api/products/{id}/",status="404"}"#, 1.0),
        (r#"{method="HEAD",route="/api/stores/",status="200"}"#, 1.0),
        (r#"{method="DELETE",route="/api/orders/",status="405"}"#, 1.0),
        (r#"{method="other",route="/api/orders/",status="405"}"#, 1.0),
        (r#"{method="other",route="/health/",status="403"}"#, 1.0),
        (r#"{method="GET",route="other",status="404"}"#, 5.0),
        (r#"{method="other",route="other",status="404"}"#, 5.0),
        (r#"{method="POST",route="/api/orders/",status="201"}"#, 2.0),
        (r#"{method="POST",route="/api/orders/",status="200"}"#, 1.0),
        (r#"{method="POST",route="/api/orders/",status="400"}"#, 1.0),
    ];
    assert_eq!(
        of(&scraped, "afforo_http_requests_total"),
        BTreeMap::from(expected)
    );
    let durations = of(&scraped, "afforo_http_request_duration_seconds_count");
    assert_eq!(durations[r#"{method="GET",route="/api/products/{id}/"}"#], 4.0);
    let last = r#"{method="POST",route="/api/orders/",le="+Inf"}"#;
    assert_eq!(
        of(&scraped, "afforo_http_request_duration_seconds_bucket")[last],
        4.0
    );
    assert_eq!(of(&scraped, "afforo_http_requests_in_flight")[""], 0.0);
    assert_eq!(
        of(&scraped, "afforo_db_pool_max_connections"),
        BTreeMap::from([
            (r#"{pool="main"}"#, 8.0),
            (r#"{pool="placement"}"#, 2.0),
            (r#"{pool="reads"}"#, 8.0),
        ])
    );
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "afforo_runtime_workers",
    ] {
        assert!(of(&scraped, name)[""] > 0.0, "{name}");
    }
}

#[tokio::test]
async fn abandoned_request_is_counted_when_its_client_leaves() {
    let app = TestApp::start().await;
    let mut server = serve(&app, &[METRICS]);
    let metrics = metrics_url(&mut server).await;
    let url = format!("http://{}/api/categories/", server.address().await);
    let holder = hold_categories(&app).await;
    let waiting = tokio::spawn(client().get(url).send());
    eventually("the request is in flight", async || {
        in_flight(&metrics).await == 1.0
    })
    .await;
    waiting.abort();
    eventually("no request is in flight", async || {
        in_flight(&metrics).await == 0.0
    })
    .await;
    // The counter changes shortly after the response.
    eventually("the request is counted", async || {
        let counted = BTreeMap::from([(r#"{method="GET",route="/api/categories/",status="499"}"#, 1.0)]);
        of(&scrape(&metrics).await, "afforo_http_requests_total") == counted
    })
    .await;
    holder.rollback().await.unwrap();
}

#[tokio::test]
async fn draining_server_serves_metrics() {
    let app = TestApp::start().await;
    let mut server = serve(&app, &[METRICS]);
    let metrics = metrics_url(&mut server).await;
    let url = format!("http://{}/api/categories/", server.address().await);
    let holder = hold_categories(&app).await;
    let waiting = tokio::spawn(send(client().get(url)));
    eventually("the request is in flight", async || {
        in_flight(&metrics).await == 1.0
    })
    .await;
    server.signal(Signal::TERM);
    server.says("stopping").await;
    assert_eq!(in_flight(&metrics).await, 1.0);
    holder.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(server.ends().await.code(), Some(0));
}

#[tokio::test]
async fn requests_without_a_working_limiter_are_counted() {
    let app = TestApp::start().await;
    let settings = [
        METRICS,
        ("RATE_LIMIT_ENABLED", "True"),
        ("REDIS_URL", "unix:///nowhere/redis.sock"),
    ];
    let mut server = serve(&app, &settings);
    let metrics = metrics_url(&mut server).await;
    let url = format!(
        "http://{}/api/products/autocomplete/?q=lam",
        server.address().await
    );
    for _ in 0..25 {
        assert_eq!(send(client().get(&url)).await.status, 200);
    }
    assert_eq!(
        of(&scrape(&metrics).await, "afforo_rate_limit_decisions_total"),
        BTreeMap::from([(r#"{limiter="autocomplete",decision="failed"}"#, 25.0)])
    );
}

#[tokio::test]
async fn metrics_listener_answers_get_despite_silent_clients() {
    let app = TestApp::start().await;
    let mut server = serve(&app, &[METRICS]);
    let metrics = metrics_url(&mut server).await;
    let (_, address) = metrics.split_once("http://").unwrap();
    let address = address.trim_end_matches("/metrics");
    let mut silent = Vec::new();
    for _ in 0..7 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(send(client().head(&metrics)).await.text, "");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = send(client().request(method, &metrics)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "GET,HEAD")
        );
    }
    for path in ["", "metrics/", "api/products/", "health/"] {
        assert_eq!(
            send(client().get(format!("http://{address}/{path}")))
                .await
                .status,
            404,
            "{path}"
        );
    }
    assert!(!scrape(&metrics).await.is_empty());
    // The server does not wait for silent connections.
    assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn worker_serves_metrics_and_reports_a_taken_address() {
    let app = TestApp::start().await;
    let mut command = afforo(&["worker"]);
    on(&mut command, &app.database_url, app.redis.url());
    let mut worker = Running::start(command.env(METRICS.0, METRICS.1));
    let metrics = metrics_url(&mut worker).await;
    assert_eq!(
        of(&scrape(&metrics).await, "afforo_build_info"),
        BTreeMap::from([(concat!(r#"{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0)])
    );
    let taken = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
    let mut command = afforo(&["serve", "127.0.0.1:0"]);
    on(&mut command, &app.database_url, app.redis.url());
    let output = run(command.env("METRICS_ADDR", taken)).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output
            .err
            .contains(&format!("cannot listen on {taken} for /metrics")),
        "{}",
        output.err
    );
    worker.signal(Signal::TERM);
    assert_eq!(worker.ends().await.code(), Some(0));
}

/// Requests about categories wait until it is rolled back.
async fn hold_categories(app: &TestApp) -> Transaction<'static, Postgres> {
    let mut holder = app.pool.begin().await.unwrap();
    sqlx::query("lock table category")
        .execute(&mut *holder)
        .await
        .unwrap();
    holder
}

async fn in_flight(metrics: &str) -> f64 {
    of(&scrape(metrics).await, "afforo_http_requests_in_flight")[""]
}
