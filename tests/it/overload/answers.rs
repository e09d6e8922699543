//! Responses that exceed the memory budget, and clients that read slowly.

use std::net::SocketAddr;

use afforo::{http::AdmissionLimits, server::Limits};
use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use super::{SHORT, Served, waiting};
use crate::support::{
    app::{TestApp, client, production, send},
    program::eventually,
};

/// More than the system buffers for a client that does not read.
const LONG: usize = 24 * 1024 * 1024;

fn routes() -> Router {
    let long = async || "x".repeat(LONG);
    waiting().0.route("/long/", get(long).post(long))
}

fn room_for_one() -> AdmissionLimits {
    AdmissionLimits {
        response_bytes: LONG + LONG / 2,
        ..AdmissionLimits::default()
    }
}

async fn ask_for(path: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.peek(&mut [0]).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_are_limited_and_short_ones_are_not() {
    let limits = Limits {
        admission: room_for_one(),
        ..Limits::default()
    };
    let served = Served::start(routes(), limits).await;
    let unread = ask_for("/long/", served.address).await;
    let refused = send(client().get(served.url("/long/"))).await;
    refused.is_text(
        503,
        r#"{"detail":"The server has too much to do, try again later."}"#,
    );
    assert_eq!(refused.header("retry-after"), "1");
    send(client().get(served.url("/quick/")))
        .await
        .is_text(200, "quick");
    // A completed write is always answered, even beyond the limit. Further requests are refused.
    let mut written = client().post(served.url("/long/")).send().await.unwrap();
    assert_eq!(written.status(), 200);
    assert_eq!(send(client().get(served.url("/quick/"))).await.status, 503);
    while written.chunk().await.unwrap().is_some() {}
    eventually("a short one has room again", async || {
        send(client().get(served.url("/quick/"))).await.status == 200
    })
    .await;
    drop(unread);
    eventually("a long one has room again", async || {
        send(client().get(served.url("/long/"))).await.text.len() == LONG
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_is_cut_off_and_its_memory_released() {
    let limits = Limits {
        sending: SHORT * 4,
        admission: room_for_one(),
        ..Limits::default()
    };
    let served = Served::start(routes(), limits).await;
    let mut slow = ask_for("/long/", served.address).await;
    let dripping = tokio::spawn(async move {
        let mut taken = 0;
        while let Ok(1..) = slow.read(&mut [0; 64]).await {
            taken += 64;
            sleep(SHORT / 4).await;
        }
        taken
    });
    eventually("others have its room", async || {
        let answer = client().get(served.url("/long/")).send().await.unwrap();
        answer.status() == 200
    })
    .await;
    dripping.abort();
}

#[tokio::test]
async fn answers_beyond_the_compression_limit_are_sent_plain() {
    for (compressions, coding) in [(1, "gzip"), (0, "")] {
        let limits = Limits {
            admission: AdmissionLimits {
                compressions,
                ..AdmissionLimits::default()
            },
            ..Limits::default()
        };
        let app = TestApp::start_within(production(), limits).await;
        for number in 0..20 {
            app.product(&format!("Lamp {number}"), "1").await;
        }
        for _ in 0..3 {
            let request = app.request(reqwest::Method::GET, "/api/products/");
            let answer = send(request.header("accept-encoding", "gzip")).await;
            assert_eq!(answer.header("content-encoding"), coding);
            assert_eq!(answer.header("vary"), "Accept, origin, Cookie, Accept-Encoding");
        }
    }
}
