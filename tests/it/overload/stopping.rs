//! Graceful shutdown of the server.

use std::time::Duration;

use afforo::server::Limits;
use reqwest::Method;
use tokio::net::TcpStream;

use super::{Raw, SHORT, Served, waiting};
use crate::support::{
    app::{client, send},
    program::eventually,
};

#[tokio::test]
async fn drain_closes_idle_connections_and_finishes_requests() {
    let (routes, gate) = waiting();
    let served = Served::start(routes, Limits::default()).await;
    let mut idle = Raw::open(served.address).await;
    idle.get("/quick/").await;
    assert_eq!(idle.answer().await.1, "quick");
    let mut busy = Raw::open(served.address).await;
    busy.get("/wait/").await;
    gate.has(1).await;

    served.stop.announced.cancel();
    idle.closed().await;
    eventually("the server accepts no more connections", async || {
        TcpStream::connect(served.address).await.is_err()
    })
    .await;
    assert!(!served.running.is_finished());
    gate.release(1);
    let (head, _) = busy.answer().await;
    assert!(
        head.starts_with("http/1.1 204") && head.contains("connection: close\r\n"),
        "{head}"
    );
    busy.closed().await;
    served.ends().await;
}

#[tokio::test]
async fn head_in_progress_is_answered_during_drain() {
    let served = Served::start(waiting().0, Limits::default()).await;
    let mut halfway = Raw::open(served.address).await;
    halfway.get("/quick/").await;
    halfway.answer().await;
    halfway.send("GET /quick/ HTTP/1.1\r\n").await;
    // Requests that were sent before this response have been received.
    send(client().get(served.url("/quick/"))).await;
    served.stop.announced.cancel();
    served.stop.draining.cancelled().await;
    halfway.send("host: localhost\r\n\r\n").await;
    let (head, body) = halfway.answer().await;
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(body, "quick");
    served.ends().await;
}

#[tokio::test]
async fn write_finishes_after_its_client_disconnects() {
    let (routes, gate) = waiting();
    let served = Served::start(routes, Limits::default()).await;
    let request = client().request(Method::POST, served.url("/wait/"));
    let sending = tokio::spawn(request.send());
    gate.has(1).await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    served.stop.announced.cancel();
    served.stop.draining.cancelled().await;
    assert!(!served.running.is_finished());
    gate.release(1);
    served.ends().await;
}

#[tokio::test]
async fn drain_deadline_closes_unfinished_requests() {
    let limits = Limits {
        drain: SHORT,
        ..Limits::default()
    };
    let (routes, gate) = waiting();
    let served = Served::start(routes, limits).await;
    let mut reading = Raw::open(served.address).await;
    reading.get("/wait/").await;
    let mut writing = Raw::open(served.address).await;
    writing
        .send("POST /wait/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        .await;
    gate.has(2).await;
    served.stop.announced.cancel();
    served.ends().await;
    reading.closed().await;
    writing.closed().await;
}

#[tokio::test]
async fn requests_are_answered_until_the_listener_closes() {
    let limits = Limits {
        delay: Duration::from_mins(1),
        ..Limits::default()
    };
    let served = Served::start(waiting().0, limits).await;
    served.stop.announced.cancel();
    for _ in 0..3 {
        send(client().get(served.url("/quick/")))
            .await
            .is_text(200, "quick");
    }
    assert!(!served.stop.draining.is_cancelled());
    served.running.abort();
}
