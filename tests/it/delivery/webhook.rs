//! Webhooks: signed, once, and again when they are not acknowledged.

use std::{collections::BTreeSet, time::Duration};

use afforo::delivery::{Backoff, Webhook};

use super::{
    SECRET, Worker, all_delivered, deliveries, error,
    http_receiver::{Answer, HttpReceiver},
    orders, times, webhook,
};
use crate::support::{
    app::TestApp,
    program::{afforo, eventually, on, run},
};

fn status(status: u16) -> Answer {
    Answer::Status(status, String::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_confirmed_order_is_sent_once_in_a_signed_request() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![]).await;
    let worker = Worker::start(&app, None, Some(webhook(&receiver)));
    let orders = orders(&app, 3).await;
    let rejected = app.order(1, &[(1, 5000)]).await;
    assert_eq!(rejected.body["status"], "REJECTED");
    eventually("all are delivered", async || all_delivered(&app.pool, 3).await).await;
    worker.stop().await;

    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let ids: BTreeSet<&str> = requests.iter().map(super::http_receiver::Request::id).collect();
    assert_eq!(ids.len(), 3);
    let mut sent = Vec::new();
    for request in &requests {
        assert_eq!(request.line, "POST /hooks?shop=1 HTTP/1.1");
        assert_eq!(request.headers["host"], receiver.address.to_string());
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["webhook-signature"], request.expected_signature());
        let (id, stamp) = (request.id(), &request.headers["webhook-timestamp"]);
        assert!(id.starts_with("msg_") && id.len() == 36, "{id}");
        let age = chrono::Utc::now().timestamp() - stamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{stamp}");
        let body = request.json();
        assert_eq!(body["type"], "order.confirmed");
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
        let order = body["data"]["id"].as_i64().unwrap();
        let shown = app.get(&format!("/api/orders/{order}/")).await.body;
        assert_eq!(body["data"], shown);
        sent.push(order);
    }
    sent.sort_unstable();
    assert_eq!(sent, orders);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_webhook_is_retried_under_the_same_id() {
    let app = TestApp::start().await;
    let elsewhere = HttpReceiver::start(vec![]).await;
    let redirect = Answer::Status(302, format!("Location: http://{}/\r\n", elsewhere.address));
    // One store with lamps.
    orders(&app, 0).await;
    for script in [
        vec![status(500), status(500), status(200)],
        vec![redirect.clone(), redirect, status(200)],
        vec![Answer::Close, status(404), status(400), status(299)],
    ] {
        let attempts = script.len();
        let receiver = HttpReceiver::start(script).await;
        let worker = Worker::start(&app, None, Some(webhook(&receiver)));
        let order = app.order(1, &[(1, 1)]).await.created();
        eventually("the confirmation is delivered", async || {
            all_delivered(&app.pool, 1).await
        })
        .await;
        worker.stop().await;
        let requests = receiver.requests();
        assert_eq!(requests.len(), attempts);
        for request in &requests {
            assert_eq!(request.id(), requests[0].id());
            assert_eq!(request.headers["webhook-signature"], request.expected_signature());
        }
        assert_eq!(deliveries(&app.pool).await[0].0, order);
        sqlx::query("delete from delivery")
            .execute(&app.pool)
            .await
            .unwrap();
    }
    assert_eq!(elsewhere.requests().len(), 0, "redirects are not followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_answered_410_is_dead_until_retried_by_hand() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![status(410)]).await;
    let worker = Worker::start(&app, None, Some(webhook(&receiver)));
    let order = orders(&app, 1).await[0];
    eventually("the delivery is dead", async || {
        deliveries(&app.pool).await == [(order, 1, "dead".to_owned())]
    })
    .await;
    assert_eq!(error(&app.pool).await, "the receiver answered 410");

    let mut command = afforo(&["jobs", "dead"]);
    on(&mut command, &app.database_url, app.redis.url());
    let output = run(&mut command).await;
    assert!(
        output.out.contains("delivery:1 ") && output.out.contains("webhook: the receiver answered 410"),
        "{}",
        output.out
    );
    let mut command = afforo(&["jobs", "retry", "delivery:1"]);
    on(&mut command, &app.database_url, app.redis.url());
    assert_eq!(run(&mut command).await.code, Some(0));
    eventually("the confirmation is delivered", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].id(), requests[1].id());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_is_dead_after_all_its_attempts() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![status(500); 4]).await;
    let worker = Worker::start(&app, None, Some(webhook(&receiver)));
    let order = orders(&app, 1).await[0];
    eventually("the delivery is dead", async || {
        deliveries(&app.pool).await == [(order, 4, "dead".to_owned())]
    })
    .await;
    assert_eq!(receiver.requests().len(), 4);
    assert_eq!(error(&app.pool).await, "the receiver answered 500");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_of_the_receiver_delays_the_next_attempt() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![Answer::Status(503, "Retry-After: 3600\r\n".to_owned())]).await;
    let worker = Worker::start(&app, None, Some(webhook(&receiver)));
    orders(&app, 1).await;
    eventually("the receiver got a request", async || {
        let noted = sqlx::query_scalar::<_, i64>(
            "select count(*) from delivery where attempts = 1 and error = 'the receiver answered 503'
                 and due_at > now() + interval '55 min' and due_at <= now() + interval '1 h'",
        );
        noted.fetch_one(&app.pool).await.unwrap() == 1
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_receiver_does_not_delay_confirmations() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![Answer::Hang; 20]).await;
    let mut times = times();
    times.backoff = Backoff {
        attempts: 10,
        ..times.backoff
    };
    let patient = webhook(&receiver).with_timeout(Duration::from_millis(300));
    let worker = Worker::start_with(&app, None, Some(patient), times);
    let orders = orders(&app, 20).await;
    eventually("all are confirmed", async || {
        let confirmed = sqlx::query_scalar::<_, i64>("select count(*) from order_confirmation");
        confirmed.fetch_one(&app.pool).await.unwrap() == 20
    })
    .await;
    eventually("all are delivered", async || all_delivered(&app.pool, 20).await).await;
    assert_eq!(receiver.requests().len(), 40);
    assert_eq!(
        deliveries(&app.pool)
            .await
            .iter()
            .map(|delivery| delivery.0)
            .collect::<Vec<_>>(),
        orders
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_is_not_sent_without_required_tls() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![]).await;
    let url = format!("https://{}/", receiver.address);
    let worker = Worker::start(
        &app,
        None,
        Some(Webhook::new(&url.into(), &SECRET.into()).unwrap()),
    );
    let order = orders(&app, 1).await[0];
    eventually("the delivery is dead", async || {
        deliveries(&app.pool).await == [(order, 4, "dead".to_owned())]
    })
    .await;
    worker.stop().await;
    let error = error(&app.pool).await;
    assert!(error.starts_with("client error (Connect): "), "{error}");
    assert_eq!(receiver.requests().len(), 0);
}
