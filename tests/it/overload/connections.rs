//! Connections that keep the server waiting, and more connections than it admits.

use std::sync::Arc;

use afforo::{http::AdmissionLimits, server::Limits};
use axum::{Router, body::Body, routing::get};
use futures::{StreamExt, stream};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{PATIENCE, Raw, SHORT, Served, waiting};
use crate::support::{
    app::{TestApp, client, production, send},
    program::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_cut_off_and_free_their_connections() {
    let limits = Limits {
        connections: 50,
        head: SHORT * 8,
        ..Limits::default()
    };
    let served = Served::start(waiting().0, limits).await;
    let mut dribblers = Vec::new();
    for _ in 0..50 {
        let mut dribbler = TcpStream::connect(served.address).await.unwrap();
        dribblers.push(tokio::spawn(async move {
            let head = "GET /quick/ HTTP/1.1\r\nhost: localhost\r\n".bytes();
            for byte in head.chain("x: y\r\n".bytes().cycle()) {
                if dribbler.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(SHORT).await;
            }
        }));
    }
    eventually("an honest client connects", async || {
        let answer = client().get(served.url("/quick/")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    for dribbler in dribblers {
        timeout(PATIENCE, dribbler)
            .await
            .expect("the server closes the slow connection")
            .unwrap();
    }
}

#[tokio::test]
async fn silent_and_unfinished_heads_are_closed() {
    let limits = Limits {
        head: SHORT,
        ..Limits::default()
    };
    let served = Served::start(waiting().0, limits).await;
    let silent = Raw::open(served.address).await;
    let mut halfway = Raw::open(served.address).await;
    halfway.send("GET /quick/ HTTP/1.1\r\nhost:").await;
    let mut idle = Raw::open(served.address).await;
    idle.get("/quick/").await;
    assert_eq!(idle.answer().await.1, "quick");
    silent.closed().await;
    halfway.closed().await;
    idle.closed().await;
}

#[tokio::test]
async fn head_timeout_does_not_apply_to_a_running_request() {
    let limits = Limits {
        head: SHORT,
        stall: SHORT,
        ..Limits::default()
    };
    let (routes, gate) = waiting();
    let served = Served::start(routes, limits).await;
    let mut patient = Raw::open(served.address).await;
    patient.get("/wait/").await;
    gate.has(1).await;
    // The server closes a later connection.
    Raw::open(served.address).await.closed().await;
    gate.release(1);
    assert!(patient.answer().await.0.starts_with("http/1.1 204"));
}

#[tokio::test]
async fn connection_beyond_the_limit_is_refused_with_503() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (routes, gate) = waiting();
    let served = Served::start(routes, limits).await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::open(served.address).await;
        raw.get("/wait/").await;
        inside.push(raw);
    }
    gate.has(2).await;
    let mut refused = Raw::open(served.address).await;
    let (head, body) = refused.answer().await;
    assert!(
        head.starts_with("http/1.1 503")
            && head.contains("retry-after: 1\r\n")
            && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(
        body,
        r#"{"detail":"There are too many connections, try again later."}"#
    );
    refused.closed().await;

    gate.release(2);
    for raw in &mut inside {
        assert!(raw.answer().await.0.starts_with("http/1.1 204"));
    }
    inside.pop();
    eventually("a new client connects", async || {
        let answer = client().get(served.url("/quick/")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn slow_bodies_are_cut_off_and_free_their_connections() {
    let limits = Limits {
        connections: 20,
        admission: AdmissionLimits {
            body_pause: SHORT * 4,
            ..AdmissionLimits::default()
        },
        ..Limits::default()
    };
    let app = TestApp::start_within(production(), limits).await;
    let mut dribblers = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::open(app.address).await;
        raw.send("POST /api/stores/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
            .await;
        dribblers.push(raw);
    }
    eventually("an honest client connects", async || {
        let mut raw = Raw::open(app.address).await;
        raw.get("/health/").await;
        raw.answer().await.0.starts_with("http/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn oversized_head_is_refused_with_431() {
    let served = Served::start(waiting().0, Limits::default()).await;
    let long = format!("x-long: {}\r\n", "x".repeat(70_000));
    let many = (0..101).fold(String::new(), |head, n| format!("{head}x-{n}: 1\r\n"));
    for fields in [long, many] {
        let mut raw = Raw::open(served.address).await;
        raw.send(format!("GET /quick/ HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n"))
            .await;
        let (head, _) = raw.answer().await;
        assert!(head.starts_with("http/1.1 431"), "{head}");
    }
}

#[tokio::test]
async fn stalled_reader_is_closed() {
    let limits = Limits {
        stall: SHORT,
        ..Limits::default()
    };
    let sent = Arc::new(());
    let held = Arc::downgrade(&sent);
    let endless = stream::repeat_with(move || {
        let _ = &sent;
        Ok::<_, std::io::Error>("x".repeat(65_536))
    });
    let body = Arc::new(std::sync::Mutex::new(Some(Body::from_stream(endless))));
    let routes = Router::new().route("/", get(async move || body.lock().unwrap().take().unwrap()));
    let served = Served::start(routes, limits).await;
    let mut raw = Raw::open(served.address).await;
    raw.get("/").await;
    eventually("the response is dropped", async || held.strong_count() == 0).await;
    drop(raw);
}

#[tokio::test]
async fn failing_connection_leaves_others_alone() {
    let broken = stream::once(async { panic!("in the middle of an answer") });
    let broken = Arc::new(std::sync::Mutex::new(Some(Body::from_stream(
        broken.map(|(): ()| Ok::<_, std::io::Error>("")),
    ))));
    let routes = waiting().0.route(
        "/broken/",
        get(async move || broken.lock().unwrap().take().unwrap()),
    );
    let served = Served::start(routes, Limits::default()).await;
    let mut other = Raw::open(served.address).await;
    other.get("/quick/").await;
    assert_eq!(other.answer().await.1, "quick");
    let mut raw = Raw::open(served.address).await;
    raw.get("/broken/").await;
    raw.closed().await;
    other.get("/quick/").await;
    assert_eq!(other.answer().await.1, "quick");
    send(client().get(served.url("/quick/")))
        .await
        .is_text(200, "quick");
}
