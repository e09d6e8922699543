//! Bodies that arrive slowly or exceed the memory budget.

use afforo::{http::AdmissionLimits, server::Limits};
use serde_json::json;
use tokio::{io::AsyncWriteExt, time::sleep};

use super::{PATIENCE, Raw, SHORT};
use crate::support::{
    app::{TestApp, production},
    program::eventually,
};

async fn start(admission: AdmissionLimits) -> TestApp {
    let limits = Limits {
        admission,
        ..Limits::default()
    };
    TestApp::start_within(production(), limits).await
}

fn head(length: usize) -> String {
    format!(
        "POST /api/categories/ HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[track_caller]
fn assert_too_slow((head, body): &(String, String)) {
    assert!(
        head.starts_with("http/1.1 408") && head.contains("connection: close\r\n"),
        "{head}"
    );
    assert!(head.contains("x-request-id: "), "{head}");
    assert_eq!(body, r#"{"detail":"Request body came too slowly."}"#);
}

#[tokio::test]
async fn stalled_body_is_refused_with_408() {
    let app = start(AdmissionLimits {
        body_pause: SHORT,
        ..AdmissionLimits::default()
    })
    .await;
    for begun in ["", "{\"name\":"] {
        let mut raw = Raw::open(app.address).await;
        raw.send(head(100)).await;
        raw.send(begun).await;
        assert_too_slow(&raw.answer().await);
        drop(raw.0.shutdown().await);
        raw.closed().await;
    }
    assert_eq!(app.get("/api/categories/").await.body["count"], 0);
}

#[tokio::test]
async fn slow_body_is_refused_with_408() {
    let app = start(AdmissionLimits {
        body_total: SHORT * 4,
        ..AdmissionLimits::default()
    })
    .await;
    let raw = Raw::open(app.address).await;
    let (read, mut write) = raw.0.into_split();
    let dribbling = tokio::spawn(async move {
        let _ = write.write_all(head(10_000).as_bytes()).await;
        while write.write_all(b" ").await.is_ok() {
            sleep(SHORT / 4).await;
        }
    });
    let mut raw = Answered { read };
    assert_too_slow(&raw.answer().await);
    dribbling.abort();
}

/// The reading half of a connection.
struct Answered {
    read: tokio::net::tcp::OwnedReadHalf,
}

impl Answered {
    async fn answer(&mut self) -> (String, String) {
        use tokio::io::AsyncReadExt;
        let mut text = String::new();
        let reading = self.read.read_to_string(&mut text);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        (format!("{}\r\n", head.to_ascii_lowercase()), body.to_owned())
    }
}

#[tokio::test]
async fn slow_sender_does_not_block_other_requests() {
    let app = start(AdmissionLimits {
        requests: 1,
        pooled: 1,
        ..AdmissionLimits::default()
    })
    .await;
    let body = r#"{"name":"Slow"}"#;
    let mut raw = Raw::open(app.address).await;
    raw.send(head(body.len())).await;
    raw.send(&body[..5]).await;
    for n in 0..20 {
        app.category(&format!("Quick {n}")).await;
    }
    raw.send(&body[5..]).await;
    let (head, answer) = raw.answer().await;
    assert!(head.starts_with("http/1.1 201"), "{head}{answer}");
}

#[tokio::test]
async fn long_bodies_are_limited_and_short_ones_are_not() {
    const LONG: usize = 90_000;
    let app = start(AdmissionLimits {
        body_bytes: 100_000,
        ..AdmissionLimits::default()
    })
    .await;
    let long = || app.post_text("/api/categories/", format!("{}{{}}", " ".repeat(LONG)));
    assert_eq!(long().await.status, 400);

    let mut raw = Raw::open(app.address).await;
    raw.send(head(LONG + 2)).await;
    raw.send(" ".repeat(LONG)).await;
    eventually(
        "the first long body is there, and no second has room",
        async || {
            let answer = long().await;
            if answer.status == 400 {
                return false;
            }
            answer.is_text(
                503,
                r#"{"detail":"The server has too much to do, try again later."}"#,
            );
            assert_eq!(answer.header("retry-after"), "1");
            true
        },
    )
    .await;
    app.category("Short").await;

    raw.send("{}").await;
    assert!(raw.answer().await.0.starts_with("http/1.1 400"));
    eventually("there is room again", async || long().await.status == 400).await;
}

#[tokio::test]
async fn refusal_reaches_a_client_that_is_still_sending() {
    let app = start(AdmissionLimits::default()).await;
    for _ in 0..20 {
        let large = json!({ "name": "x".repeat(1_500_000) });
        let answer = app.post("/api/categories/", &large).await;
        answer.is_text(413, r#"{"detail":"Request body exceeds 1 MiB."}"#);
    }
}
