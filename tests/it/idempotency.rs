//! `Idempotency-Key`: a POST that is sent again under its key is done once and answered the same.

use std::time::Duration;

use afforo::{idempotency, worker::PeriodicJob};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::support::{
    app::{Answer, TestApp, order, send},
    locks::waiting_for_locks,
    program::eventually,
};

/// Sends a POST under a key.
async fn post(app: &TestApp, path: &str, key: &str, body: &Value) -> Answer {
    let request = app.request(Method::POST, path).header("idempotency-key", key);
    send(request.json(body)).await
}

/// Asserts that a response is a replay of another.
#[track_caller]
fn is_replay(answer: &Answer, first: &Answer) {
    assert_eq!(
        (answer.status, &answer.text, answer.header("idempotent-replayed")),
        (first.status, &first.text, "true")
    );
    for name in ["content-type", "allow", "vary", "x-frame-options"] {
        assert_eq!(answer.header(name), first.header(name), "{name}");
    }
}

#[track_caller]
fn is_first(answer: &Answer) {
    assert!(!answer.headers.contains_key("idempotent-replayed"), "{answer:?}");
}

async fn count(app: &TestApp, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

/// A store with 100 lamps.
async fn shop(app: &TestApp) -> (i64, i64, i64) {
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    (store, lamp, app.stock(store, lamp, 100).await)
}

#[tokio::test]
async fn repeated_order_is_placed_once_with_identical_response() {
    let app = TestApp::start().await;
    let (store, lamp, stock) = shop(&app).await;
    let body = order(store, &[(lamp, 3)]);
    let first = post(&app, "/api/orders/", "first-order", &body).await;
    is_first(&first);
    first.created();
    for _ in 0..2 {
        is_replay(&post(&app, "/api/orders/", "first-order", &body).await, &first);
    }
    assert_eq!((app.quantity(stock).await, count(&app, "orders").await), (97, 1));

    let body = order(store, &[(lamp, 1000)]);
    let rejected = post(&app, "/api/orders/", "too-much", &body).await;
    assert_eq!(rejected.status, 200);
    // The order stays rejected, although the stock suffices now.
    app.patch(&format!("/api/inventory/{stock}/"), &json!({ "quantity": 5000 }))
        .await;
    is_replay(&post(&app, "/api/orders/", "too-much", &body).await, &rejected);
    assert_eq!(
        (app.quantity(stock).await, count(&app, "orders").await),
        (5000, 2)
    );
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn every_post_is_replayed_although_its_result_exists() {
    let app = TestApp::start().await;
    let (store, _, _) = shop(&app).await;
    let category = app.category("Rugs").await;
    let rug = app.product_in(category, "Rug", "20.00").await;
    for (path, table, body) in [
        ("/api/categories/", "category", json!({ "name": "Beds" })),
        (
            "/api/products/",
            "product",
            json!({ "title": "Bed", "price": "99.90", "category_id": category }),
        ),
        (
            "/api/stores/",
            "store",
            json!({ "name": "Side", "location": "There" }),
        ),
        (
            "/api/inventory/",
            "inventory",
            json!({ "store_id": store, "product_id": rug, "quantity": 5 }),
        ),
    ] {
        let first = post(&app, path, &format!("key of {table}").replace(' ', "-"), &body).await;
        is_first(&first);
        first.created();
        let made = count(&app, table).await;
        let again = post(&app, path, &format!("key of {table}").replace(' ', "-"), &body).await;
        is_replay(&again, &first);
        assert_eq!(count(&app, table).await, made, "{path}");
    }
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn equivalent_json_is_the_same_request() {
    let app = TestApp::start().await;
    let (store, lamp, _) = shop(&app).await;
    let send_text = async |key: &str, text: String| {
        let request = app.request(Method::POST, "/api/orders/");
        let request = request
            .header("idempotency-key", key)
            .header("content-type", "application/json");
        send(request.body(text)).await
    };
    let first = send_text(
        "spelling",
        format!(r#"{{"store_id":{store},"items":[{{"product_id":{lamp},"quantity":1}}]}}"#),
    )
    .await;
    first.created();
    for (key, text) in [
        (
            "\"spelling\"",
            format!(r#"{{"items":[{{"quantity":1,"product_id":{lamp}}}],"store_id":{store}}}"#),
        ),
        (
            "spelling",
            format!(
                "{{ \"store_id\": 9, \"store_\\u0069d\": {store},\n \"items\": [ {{\"product_id\":{lamp},\"quantity\":1}} ] }}"
            ),
        ),
    ] {
        is_replay(&send_text(key, text).await, &first);
    }
    assert_eq!(count(&app, "orders").await, 1);
}

#[tokio::test]
async fn reusing_a_key_for_another_request_is_rejected_with_422() {
    const MISMATCH: &str = r#"{"detail":"Idempotency-Key was used for another request."}"#;
    let app = TestApp::start().await;
    let (store, lamp, stock) = shop(&app).await;
    let body = order(store, &[(lamp, 1)]);
    post(&app, "/api/orders/", "taken", &body).await.created();
    for (path, other) in [
        ("/api/orders/", order(store, &[(lamp, 2)])),
        // The body is invalid, but the key is checked first.
        ("/api/orders/", json!({})),
        ("/api/orders/", order(store + 1, &[(lamp, 1)])),
        ("/api/stores/", body.clone()),
        ("/api/stores/", json!({ "name": "Other", "location": "There" })),
        ("/api/categories/", json!({ "name": "Other" })),
    ] {
        let answer = post(&app, path, "taken", &other).await;
        answer.is_text(422, MISMATCH);
        is_first(&answer);
    }
    assert_eq!((app.quantity(stock).await, count(&app, "orders").await), (99, 1));
    assert_eq!(
        (count(&app, "store").await, count(&app, "category").await),
        (1, 1)
    );
    // Case counts, and a path without its slash is the same path.
    post(&app, "/api/orders/", "TAKEN", &body).await.created();
    let again = post(&app, "/api/orders", "taken", &body).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn oversized_body_under_a_used_key_gets_413() {
    let app = TestApp::start().await;
    let (store, lamp, _) = shop(&app).await;
    post(&app, "/api/orders/", "known", &order(store, &[(lamp, 1)]))
        .await
        .created();
    let request = app
        .request(Method::POST, "/api/orders/")
        .header("idempotency-key", "known")
        .header("content-type", "application/json");
    let answer = send(request.body(" ".repeat(1024 * 1024 + 1))).await;
    answer.is_text(413, r#"{"detail":"Request body exceeds 1 MiB."}"#);
}

#[tokio::test]
async fn failed_request_is_not_stored_and_its_key_can_be_reused() {
    let app = TestApp::start().await;
    let (store, lamp, _) = shop(&app).await;
    let body = order(store, &[(lamp, 1)]);
    assert_eq!(post(&app, "/api/orders/", "later", &json!({})).await.status, 400);
    app.patch(&format!("/api/stores/{store}/"), &json!({ "is_active": false }))
        .await;
    let refused = post(&app, "/api/orders/", "later", &body).await;
    assert_eq!(refused.status, 400);
    is_first(&refused);
    app.patch(&format!("/api/stores/{store}/"), &json!({ "is_active": true }))
        .await;
    let done = post(&app, "/api/orders/", "later", &body).await;
    is_first(&done);
    done.created();
}

#[tokio::test]
async fn key_is_1_to_255_visible_ascii_characters_bare_or_quoted() {
    const REFUSAL: &str =
        r#"{"detail":"Idempotency-Key must be one text of 1 to 255 visible ASCII characters."}"#;
    let app = TestApp::start().await;
    let longest = "k".repeat(255);
    for (number, key) in ["k", "~!#", "a\"b", &longest, &format!("\"{longest}\"x")[..255]]
        .into_iter()
        .enumerate()
    {
        let name = json!({ "name": format!("Category {number}") });
        let answer = post(&app, "/api/categories/", key, &name).await;
        if key.starts_with('"') {
            answer.is_text(400, REFUSAL);
        } else {
            answer.created();
        }
    }
    let name = json!({ "name": "Refused" });
    let too_long = "k".repeat(256);
    for key in ["", "\"\"", "\"", "a b", "a\tb", "\"a", &too_long] {
        post(&app, "/api/categories/", key, &name)
            .await
            .is_text(400, REFUSAL);
    }
    let request = app.request(Method::POST, "/api/categories/").json(&name);
    let twice = request
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    send(twice).await.is_text(400, REFUSAL);
    let request = app.request(Method::POST, "/api/categories/").json(&name);
    let no_ascii = request.header(
        "idempotency-key",
        reqwest::header::HeaderValue::from_bytes(b"\xE4").unwrap(),
    );
    send(no_ascii).await.is_text(400, REFUSAL);
    // Other methods ignore the header.
    let read = app
        .request(Method::GET, "/api/categories/")
        .header("idempotency-key", "");
    assert_eq!(send(read).await.status, 200);
    assert_eq!(count(&app, "category").await, 4);
}

/// Sends a request eight times at once, half of them through another server on the same database. It is done once, and all
/// get the answer to that.
async fn race(servers: [&TestApp; 2], path: &str, key: &str, body: &Value) {
    let twins = (0..8).map(|twin| post(servers[twin % 2], path, key, body));
    let answers = join_all(twins).await;
    let (firsts, again): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| !answer.headers.contains_key("idempotent-replayed"));
    assert_eq!((firsts.len(), again.len()), (1, 7), "{answers:?}");
    firsts[0].created();
    for answer in again {
        is_replay(answer, firsts[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_orders_under_one_key_are_placed_once_with_one_response() {
    let app = TestApp::start().await;
    let other = app.beside().await;
    let (store, lamp, stock) = shop(&app).await;
    let body = order(store, &[(lamp, 1)]);
    for round in 0..20 {
        race([&app, &other], "/api/orders/", &format!("race-{round}"), &body).await;
    }
    assert_eq!((app.quantity(stock).await, count(&app, "orders").await), (80, 20));
    assert_eq!(count(&app, "idempotency_key").await, 20);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creations_under_one_key_happen_once_with_one_response() {
    let app = TestApp::start().await;
    let other = app.beside().await;
    for round in 0..20 {
        let body = json!({ "name": format!("Name {round}") });
        race(
            [&app, &other],
            "/api/categories/",
            &format!("race-{round}"),
            &body,
        )
        .await;
    }
    assert_eq!(count(&app, "category").await, 20);
}

#[tokio::test]
async fn duplicate_waits_for_the_first_request_and_then_gets_409() {
    let app = TestApp::start().await;
    let (store, lamp, stock) = shop(&app).await;
    let body = order(store, &[(lamp, 1)]);
    let mut held = app.pool.begin().await.unwrap();
    held.execute("select from inventory for update").await.unwrap();
    let first = post(&app, "/api/orders/", "slow", &body);
    let twin = async {
        eventually("the first waits for the lock", async || {
            waiting_for_locks(&app.pool).await > 0
        })
        .await;
        let answer = post(&app, "/api/orders/", "slow", &body).await;
        answer.is_text(
            409,
            r#"{"detail":"A request with this Idempotency-Key is under way."}"#,
        );
        assert_eq!(answer.header("retry-after"), "1");
        held.rollback().await.unwrap();
    };
    let (first, ()) = tokio::join!(first, twin);
    is_first(&first);
    is_replay(&post(&app, "/api/orders/", "slow", &body).await, &first);
    assert_eq!(app.quantity(stock).await, 99);
}

#[tokio::test]
async fn order_of_a_disconnected_client_is_replayed_on_retry() {
    let app = TestApp::start().await;
    let (store, lamp, stock) = shop(&app).await;
    let body = order(store, &[(lamp, 1)]);
    let mut held = app.pool.begin().await.unwrap();
    held.execute("select from inventory for update").await.unwrap();
    let disconnected = tokio::time::timeout(
        Duration::from_millis(300),
        post(&app, "/api/orders/", "left", &body),
    );
    assert!(disconnected.await.is_err());
    held.rollback().await.unwrap();
    let answer = post(&app, "/api/orders/", "left", &body).await;
    answer.created();
    assert_eq!(answer.header("idempotent-replayed"), "true");
    assert_eq!((app.quantity(stock).await, count(&app, "orders").await), (99, 1));
}

#[tokio::test]
async fn cors_allows_idempotency_key_and_exposes_idempotent_replayed() {
    let app = TestApp::start().await;
    let preflight = app
        .request(Method::OPTIONS, "/api/categories/")
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type, Idempotency-Key");
    let allowed = send(preflight).await;
    let headers = allowed.header("access-control-allow-headers");
    assert!(headers.contains("idempotency-key"), "{headers}");
    for replayed in ["", "true"] {
        let request = app
            .request(Method::POST, "/api/categories/")
            .header("origin", "http://localhost:3000")
            .header("idempotency-key", "page");
        let answer = send(request.json(&json!({ "name": "Lamps" }))).await;
        assert_eq!(answer.header("idempotent-replayed"), replayed);
        let exposed = answer.header("access-control-expose-headers");
        assert!(exposed.contains("idempotent-replayed"), "{exposed}");
    }
}

#[tokio::test]
async fn responses_are_kept_for_a_day() {
    let app = TestApp::start().await;
    app.pool
        .execute(
            "insert into idempotency_key (key, fingerprint, status, body, created_at)
             select n, '', 201, '{}', now() - n * interval '1 hour' from generate_series(1, 48) n",
        )
        .await
        .unwrap();
    assert_eq!(idempotency::purge(&app.pool, 10).await.unwrap(), 10);
    let job = serde_json::to_value(PeriodicJob::PurgeIdempotencyKeys).unwrap();
    assert_eq!(job, json!({ "job": "purge_idempotency_keys" }));
    assert_eq!(idempotency::purge(&app.pool, 100).await.unwrap(), 15);
    assert_eq!(count(&app, "idempotency_key where key::int < 24").await, 23);
    assert_eq!(count(&app, "idempotency_key").await, 23);
}
