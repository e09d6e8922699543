//! Transfers of stock from one store to another.

mod refused;
mod stores;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    app::{Answer, TestApp, send},
    books::no_deadlocks,
};

/// Stores 1 and 2; twenty lamps (product 1, inventory 1) and ten chairs (product 2, inventory 2) in store 1.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    for name in ["North", "South"] {
        app.store(name).await;
    }
    for (title, quantity) in [("Lamp", 20), ("Chair", 10)] {
        let product = app.product(title, "10.00").await;
        app.stock(1, product, quantity).await;
    }
    app
}

fn item(product: i64, quantity: i64) -> Value {
    json!({ "product_id": product, "quantity": quantity })
}

fn got(product: i64, [received, damaged, missing]: [i64; 3]) -> Value {
    json!({ "product_id": product, "received": received, "damaged": damaged, "missing": missing })
}

/// A transfer of six lamps and four chairs, with the id 1.
async fn draft(app: &TestApp) -> Value {
    let new = json!({ "from_store_id": 1, "to_store_id": 2, "items": [item(1, 6), item(2, 4)], "reference": "TO-1" });
    let created = app.post("/api/transfers/", &new).await;
    created.created();
    created.body
}

async fn act(app: &TestApp, action: &str, body: Value) -> Answer {
    app.post(&format!("/api/transfers/1/{action}/"), &body).await
}

/// The same, which succeeds.
async fn done(app: &TestApp, action: &str, body: Value) -> Value {
    let answer = act(app, action, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn shipped(app: &TestApp) -> Value {
    draft(app).await;
    done(app, "ship", json!({})).await
}

/// Shipped, received, damaged, lost, returned and in transit of each item.
fn units(transfer: &Value) -> Vec<[i64; 6]> {
    let names = ["shipped", "received", "damaged", "lost", "returned", "in_transit"];
    let items = transfer["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| names.map(|name| item[name].as_i64().unwrap()))
        .collect()
}

/// Store, product, kind, delta and reference of the movements of transfers, oldest first.
async fn movements(app: &TestApp) -> Vec<(i64, i64, String, i32, Option<String>)> {
    sqlx::query_as(
        "select store_id, product_id, kind, delta, reference from stock_movement m join inventory i on i.id = m.inventory_id
         where reference_type = 'TRANSFER' and reference_id = 1 order by m.id",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap()
}

fn moved(store: i64, product: i64, kind: &str, delta: i32) -> (i64, i64, String, i32, Option<String>) {
    (store, product, kind.to_owned(), delta, Some("TO-1".to_owned()))
}

/// Units on hand in all stores, in transit, damaged and lost.
async fn everything(app: &TestApp) -> i64 {
    sqlx::query_scalar(
        "select (select sum(quantity + committed) from inventory)
             + (select coalesce(sum(in_transit + damaged + lost), 0) from transfer_line)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

async fn quantities(app: &TestApp) -> Vec<(i64, i64, i32)> {
    sqlx::query_as("select store_id, product_id, quantity from inventory order by 1, 2")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn units_leave_one_store_and_arrive_in_another() {
    let app = shop().await;
    let drafted = draft(&app).await;
    assert_eq!(
        (&drafted["status"], &drafted["version"]),
        (&json!("DRAFT"), &json!(1))
    );
    assert_eq!(units(&drafted), [[0; 6]; 2]);
    assert_eq!(quantities(&app).await, [(1, 1, 20), (1, 2, 10)]);
    let shipped = done(&app, "ship", json!({})).await;
    assert_eq!(
        (&shipped["status"], &shipped["version"]),
        (&json!("IN_TRANSIT"), &json!(2))
    );
    assert_eq!(units(&shipped), [[6, 0, 0, 0, 0, 6], [4, 0, 0, 0, 0, 4]]);
    assert_eq!(quantities(&app).await, [(1, 1, 14), (1, 2, 6)]);
    assert_eq!(everything(&app).await, 30);
    let first = json!({ "items": [got(1, [3, 1, 0]), got(2, [0, 1, 0])] });
    let partial = done(&app, "receive", first).await;
    assert_eq!(partial["status"], "PARTIAL");
    assert_eq!(units(&partial), [[6, 3, 1, 0, 0, 2], [4, 0, 1, 0, 0, 3]]);
    assert_eq!(everything(&app).await, 30);
    let second = json!({ "items": [got(2, [2, 0, 0])], "close": true });
    let received = done(&app, "receive", second).await;
    assert_eq!(
        (&received["status"], &received["version"]),
        (&json!("RECEIVED"), &json!(4))
    );
    assert_eq!(units(&received), [[6, 3, 1, 2, 0, 0], [4, 2, 1, 1, 0, 0]]);
    assert_eq!(
        quantities(&app).await,
        [(1, 1, 14), (1, 2, 6), (2, 1, 3), (2, 2, 2)]
    );
    assert_eq!(
        movements(&app).await,
        [
            moved(1, 1, "TRANSFER_OUT", -6),
            moved(1, 2, "TRANSFER_OUT", -4),
            moved(2, 1, "TRANSFER_IN", 3),
            moved(2, 2, "TRANSFER_IN", 0),
            moved(2, 2, "TRANSFER_IN", 2),
        ]
    );
    assert_eq!(app.get("/api/transfers/1/").await.body, received);
    assert_eq!(everything(&app).await, 30);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn an_immediate_transfer_moves_at_once() {
    let app = shop().await;
    let new = json!({ "from_store_id": 1, "to_store_id": 2, "items": [item(2, 4), item(1, 6)], "immediate": true, "reference": "TO-1" });
    let moved_at_once = app.post("/api/transfers/", &new).await;
    moved_at_once.created();
    assert_eq!(moved_at_once.body["status"], "RECEIVED");
    assert_eq!(
        units(&moved_at_once.body),
        [[6, 6, 0, 0, 0, 0], [4, 4, 0, 0, 0, 0]]
    );
    assert_eq!(
        quantities(&app).await,
        [(1, 1, 14), (1, 2, 6), (2, 1, 6), (2, 2, 4)]
    );
    assert_eq!(movements(&app).await.len(), 4);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_draft_can_be_changed_until_it_is_shipped() {
    let app = shop().await;
    draft(&app).await;
    let change = json!({ "items": [item(2, 1)], "reference": null, "expected_at": "2030-01-02T03:04:05+01:00", "expected_version": 1 });
    let changed = app.patch("/api/transfers/1/", &change).await.body;
    assert_eq!(
        (&changed["reference"], &changed["version"]),
        (&Value::Null, &json!(2))
    );
    assert_eq!(changed["expected_at"], "2030-01-02T02:04:05Z");
    assert_eq!(changed["items"].as_array().unwrap().len(), 1);
    let (before, after): (String, String) = sqlx::query_as(
        "select before ->> 'reference', after ->> 'version' from audit_log where action = 'transfer.changed'",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((before.as_str(), after.as_str()), ("TO-1", "2"));
    let kept = app.patch("/api/transfers/1/", &json!({})).await.body;
    assert_eq!(
        (&kept["items"], &kept["expected_at"]),
        (&changed["items"], &changed["expected_at"])
    );
    done(&app, "ship", json!({ "items": [item(2, 1)] })).await;
    assert_eq!(quantities(&app).await, [(1, 1, 20), (1, 2, 9)]);
    app.patch("/api/transfers/1/", &change).await.is(
        409,
        json!({ "detail": "The version of the transfer is 4, not the expected one.", "code": "stale_version", "version": 4 }),
    );
    app.patch("/api/transfers/1/", &json!({})).await.is(
        409,
        json!({ "detail": "The transfer is IN_TRANSIT.", "code": "invalid_transition", "status": "IN_TRANSIT", "allowed": ["receive", "cancel"] }),
    );
}

#[tokio::test]
async fn units_that_are_not_shipped_are_dropped() {
    let app = shop().await;
    draft(&app).await;
    let shipped = done(&app, "ship", json!({ "items": [item(1, 2)] })).await;
    assert_eq!(units(&shipped), [[2, 0, 0, 0, 0, 2], [0; 6]]);
    let received = done(&app, "receive", json!({ "items": [got(1, [2, 0, 0])] })).await;
    assert_eq!(received["status"], "RECEIVED");
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_cancellation_puts_back_or_gives_up_what_is_in_transit() {
    let app = shop().await;
    shipped(&app).await;
    done(&app, "receive", json!({ "items": [got(1, [2, 0, 0])] })).await;
    let settled = json!({ "items": [{ "product_id": 1, "returned": 3, "lost": 1 }, { "product_id": 2, "returned": 4 }] });
    let cancelled = done(&app, "cancel", settled).await;
    assert_eq!(cancelled["status"], "CANCELLED");
    assert_eq!(units(&cancelled), [[6, 2, 0, 1, 3, 0], [4, 0, 0, 0, 4, 0]]);
    assert_eq!(quantities(&app).await, [(1, 1, 17), (1, 2, 10), (2, 1, 2)]);
    assert_eq!(everything(&app).await, 30);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_cancelled_draft_has_moved_nothing() {
    let app = shop().await;
    draft(&app).await;
    let cancelled = done(&app, "cancel", json!({})).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["shipped_at"]),
        (&json!("CANCELLED"), &Value::Null)
    );
    assert_eq!(quantities(&app).await, [(1, 1, 20), (1, 2, 10)]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_retried_receipt_counts_once_and_two_receipts_add_up() {
    let app = shop().await;
    shipped(&app).await;
    let receive = |key: &'static str| {
        let request = app.request(Method::POST, "/api/transfers/1/receive/");
        let body = json!({ "items": [got(1, [2, 0, 0])] });
        send(request.header("Idempotency-Key", key).json(&body))
    };
    let (first, again) = (receive("a").await, receive("a").await);
    assert_eq!((first.status.as_u16(), &first.body), (200, &again.body));
    assert_eq!(units(&receive("b").await.body)[0], [6, 4, 0, 0, 0, 2]);
    assert_eq!(quantities(&app).await[2], (2, 1, 4));
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn stock_rows_show_what_is_in_transit_to_their_store() {
    let app = shop().await;
    app.stock(2, 1, 1).await;
    shipped(&app).await;
    let row = app.get("/api/inventory/3/").await.body;
    assert_eq!((&row["incoming"], &row["quantity"]), (&json!(6), &json!(1)));
    let incoming = app.get("/api/inventory/").await.column("incoming");
    assert_eq!(incoming, [json!(0), json!(0), json!(6)]);
    let by_product = app.get("/api/inventory/?product_id=1").await.column("incoming");
    assert_eq!(by_product, [json!(0), json!(6)]);
    done(&app, "receive", json!({ "items": [got(1, [5, 0, 0])] })).await;
    assert_eq!(app.get("/api/inventory/3/").await.body["incoming"], 1);
}

#[tokio::test]
async fn items_name_products_by_sku() {
    let app = shop().await;
    app.patch("/api/products/1/", &json!({ "sku": "LAMP" })).await;
    let lamps = json!([{ "sku": "LAMP", "quantity": 2 }]);
    let new = json!({ "from_store_id": 1, "to_store_id": 2, "items": lamps });
    let created = app.post("/api/transfers/", &new).await;
    created.created();
    assert_eq!(created.body["items"][0]["sku"], "LAMP");
    done(&app, "ship", json!({ "items": lamps })).await;
    done(
        &app,
        "receive",
        json!({ "items": [{ "sku": "LAMP", "received": 1 }] }),
    )
    .await;
    done(&app, "cancel", json!({ "items": [{ "sku": "LAMP", "lost": 1 }] })).await;
}

#[tokio::test]
async fn the_list_is_filtered_and_read_by_cursor() {
    let app = shop().await;
    for number in 0..23 {
        let (from, to) = if number == 4 { (2, 1) } else { (1, 2) };
        let new = json!({ "from_store_id": from, "to_store_id": to, "items": [item(1, 1)], "reference": format!("TO-{number}") });
        app.post("/api/transfers/", &new).await.created();
    }
    done(&app, "ship", json!({})).await;
    let page = app.get("/api/transfers/").await;
    assert_eq!(page.column("id").len(), 20);
    let next = page.body["next"].as_str().unwrap();
    let path = &next[next.find("/api/").unwrap()..];
    assert_eq!(app.get(path).await.column("id"), [json!(3), json!(2), json!(1)]);
    for (query, ids) in [
        ("status=in_transit", json!([1])),
        ("from_store_id=2", json!([5])),
        ("to_store_id=1", json!([5])),
        ("from_store_id=2&to_store_id=2", json!([])),
        ("reference=TO-7", json!([8])),
    ] {
        let found = app.get(&format!("/api/transfers/?{query}")).await;
        assert_eq!(json!(found.column("id")), ids, "{query}");
    }
    let row = &app.get("/api/transfers/?status=IN_TRANSIT").await.body["results"][0];
    assert_eq!((&row["quantity"], &row["in_transit"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_dry_run_predicts_the_answer_and_changes_nothing() {
    let app = shop().await;
    draft(&app).await;
    let predicted = app.post("/api/transfers/1/ship/?dry_run=true", &json!({})).await;
    assert_eq!(
        (predicted.status.as_u16(), &predicted.body["id"]),
        (200, &json!(1))
    );
    assert_eq!(predicted.body["status"], "IN_TRANSIT");
    assert_eq!(app.get("/api/transfers/1/").await.body["status"], "DRAFT");
    let new = json!({ "from_store_id": 1, "to_store_id": 2, "items": [item(1, 1)], "immediate": true });
    let predicted = app.post("/api/transfers/?dry_run=true", &new).await;
    assert_eq!(
        (predicted.status.as_u16(), &predicted.body["id"]),
        (200, &Value::Null)
    );
    assert_eq!(quantities(&app).await, [(1, 1, 20), (1, 2, 10)]);
}

#[tokio::test]
async fn concurrent_transfers_between_two_stores_neither_deadlock_nor_lose_units() {
    let app = Arc::new(shop().await);
    for product in [1, 2] {
        app.stock(2, product, 15).await;
    }
    let mut tasks = JoinSet::new();
    for number in 0..24 {
        let app = Arc::clone(&app);
        tasks.spawn(async move {
            let (from, to) = if number % 2 == 0 { (1, 2) } else { (2, 1) };
            let new = json!({ "from_store_id": from, "to_store_id": to, "items": [item(1, 2), item(2, 1)], "immediate": number % 3 == 0 });
            let created = app.post("/api/transfers/", &new).await;
            if number % 3 == 0 || created.status != 201 {
                assert!([201, 409].contains(&created.status.as_u16()), "{}", created.body);
                return;
            }
            let path = format!("/api/transfers/{}", created.body["id"]);
            let ship = app.post(&format!("{path}/ship/"), &json!({})).await;
            assert!([200, 409].contains(&ship.status.as_u16()), "{}", ship.body);
            let mut receipts = JoinSet::new();
            for _ in 0..3 {
                let (app, path) = (Arc::clone(&app), format!("{path}/receive/"));
                let body = json!({ "items": [got(1, [1, 0, 0])] });
                receipts.spawn(async move { app.post(&path, &body).await.status.as_u16() });
            }
            let mut taken = receipts.join_all().await;
            taken.sort_unstable();
            let expected = if ship.status == 200 { [200, 200, 409] } else { [409; 3] };
            assert_eq!(taken, expected);
        });
    }
    tasks.join_all().await;
    assert_eq!(everything(&app).await, 60);
    assert_eq!(app.unbalanced().await, []);
    no_deadlocks(&app.database_url).await;
}
