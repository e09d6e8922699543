//! More requests than the server admits, and requests that do not end.

use std::sync::Arc;

use afforo::{http::AdmissionLimits, server::Limits};
use axum::{Router, routing::get};
use futures::future::join_all;
use reqwest::Method;
use tokio::time::timeout;

use super::{Raw, SHORT, Served, waiting};
use crate::support::{
    app::{Answer, TestApp, client, production, send},
    program::eventually,
};

const TOO_MUCH: &str = r#"{"detail":"The server has too much to do, try again later."}"#;

#[track_caller]
fn assert_shed(answer: &Answer) {
    answer.is_text(503, TOO_MUCH);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_ne!(answer.header("x-request-id"), "");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_at_once() {
    let limits = Limits {
        admission: AdmissionLimits {
            requests: 2,
            ..AdmissionLimits::default()
        },
        ..Limits::default()
    };
    let (routes, gate) = waiting();
    let served = Served::start(routes, limits).await;
    let ask = |path: &str| send(client().get(served.url(path)));
    let inside = tokio::spawn(join_all([ask("/wait/"), ask("/wait/")]));
    gate.has(2).await;
    for path in ["/wait/", "/quick/", "/nowhere/"] {
        assert_shed(&ask(path).await);
    }
    // The server does not even wait for the first byte of a body.
    let mut raw = Raw::open(served.address).await;
    raw.send("POST /wait/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n")
        .await;
    assert_eq!(raw.answer().await.1, TOO_MUCH);
    ask("/health/").await.is_text(200, "healthy");

    gate.release(2);
    for answer in inside.await.unwrap() {
        assert_eq!(answer.status, 204);
    }
    ask("/quick/").await.is_text(200, "quick");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_waiting_for_the_pool_do_not_block_orders() {
    let limits = Limits {
        admission: AdmissionLimits {
            pooled: 2,
            ..AdmissionLimits::default()
        },
        ..Limits::default()
    };
    let app = Arc::new(TestApp::start_within(production(), limits).await);
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 10).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("lock table category in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let app = app.clone();
            // The third request may have been faster; its slot is free again soon.
            tokio::spawn(async move {
                loop {
                    let answer = app.get("/api/categories/").await;
                    if answer.text != TOO_MUCH {
                        return answer;
                    }
                }
            })
        })
        .collect();
    eventually("a third is refused", async || {
        let third = timeout(SHORT, app.get("/api/products/autocomplete/?q=x")).await;
        third.is_ok_and(|third| third.status == 503 && third.text == TOO_MUCH)
    })
    .await;
    let order = app.order(store, &[(product, 1)]).await;
    lock.rollback().await.unwrap();
    order.created();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(app.get("/api/stores/").await.status, 200);
}

#[tokio::test]
async fn slow_read_is_cancelled() {
    let limits = Limits {
        reading: SHORT,
        ..Limits::default()
    };
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let routes = Router::new().route(
        "/",
        get(async move || {
            std::future::pending::<()>().await;
            drop(held);
        }),
    );
    let served = Served::start(routes, limits).await;
    let answer = send(client().get(served.url("/"))).await;
    answer.is_text(503, r#"{"detail":"The request took too long, try again later."}"#);
    assert_eq!(answer.header("retry-after"), "1");
    // The route itself has one.
    assert_eq!(weak.strong_count(), 1);
}

#[tokio::test]
async fn slow_write_is_answered_and_goes_on() {
    let limits = Limits {
        writing: SHORT,
        ..Limits::default()
    };
    let (routes, gate) = waiting();
    let served = Served::start(routes, limits).await;
    let answer = send(client().request(Method::DELETE, served.url("/wait/"))).await;
    answer.is_text(
        503,
        r#"{"detail":"The request took too long, and may still take effect. Check before retrying, or retry under the same Idempotency-Key."}"#,
    );
    assert_eq!(answer.header("retry-after"), "", "a retry is not safe");
    gate.has(1).await;
    // The request is still waiting, so the server waits too.
    served.stop.announced.cancel();
    served.stop.draining.cancelled().await;
    assert!(!served.running.is_finished());
    gate.release(1);
    served.ends().await;
}

#[tokio::test]
async fn panic_is_answered_with_500_without_details() {
    #[expect(unreachable_code, reason = "this expression gives the handler its type")]
    async fn broken() -> &'static str {
        panic!("a secret");
        ""
    }
    let routes = waiting().0.route("/broken/", get(broken).post(broken));
    let served = Served::start(routes, Limits::default()).await;
    for method in [Method::GET, Method::POST, Method::GET] {
        let request = client().request(method, served.url("/broken/"));
        let answer = send(request.header("x-request-id", "mine")).await;
        answer.is_text(500, r#"{"detail":"Internal server error."}"#);
        assert_eq!(answer.header("x-request-id"), "mine");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let unnamed = send(client().get(served.url("/broken/"))).await;
    assert_ne!(unnamed.header("x-request-id"), "");
    send(client().get(served.url("/quick/")))
        .await
        .is_text(200, "quick");
}
