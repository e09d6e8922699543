//! Cancellations, fulfilments and returns of orders.

mod refused;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    app::{Answer, TestApp, send},
    books::no_deadlocks,
};

/// An order of six lamps at 10.00 and two chairs at 5.00, of ten each. The ids of all records are 1 and 2.
async fn sold(fulfillment: &str) -> TestApp {
    let app = TestApp::start().await;
    let store = json!({ "name": "Main", "location": "Here", "fulfillment": fulfillment });
    let store = app.post("/api/stores/", &store).await.created();
    for (title, price) in [("Lamp", "10.00"), ("Chair", "5.00")] {
        let product = app.product(title, price).await;
        app.stock(store, product, 10).await;
    }
    app.order(store, &[(1, 6), (2, 2)]).await.created();
    app
}

async fn document(app: &TestApp, kind: &str, body: Value) -> Answer {
    app.post(&format!("/api/orders/1/{kind}/"), &body).await
}

fn item(id: i64, quantity: i64) -> Value {
    json!({ "order_item_id": id, "quantity": quantity })
}

/// `quantity`, `committed` and `on_hand` of the lamps.
async fn lamps(app: &TestApp) -> [i64; 3] {
    let row = app.get("/api/inventory/1/").await.body;
    ["quantity", "committed", "on_hand"].map(|name| row[name].as_i64().unwrap())
}

/// Kind, delta and units on hand of the lamps' movements after the opening one, oldest first.
async fn movements(app: &TestApp) -> Vec<(String, i32, Option<i32>)> {
    sqlx::query_as(
        "select kind, delta, on_hand_delta from stock_movement where inventory_id = 1 order by id offset 1",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap()
}

fn moved(kind: &str, delta: i32, on_hand: Option<i32>) -> (String, i32, Option<i32>) {
    (kind.to_owned(), delta, on_hand)
}

#[tokio::test]
async fn documents_of_an_untracked_order_change_the_quantity() {
    let app = sold("IMMEDIATE").await;
    assert_eq!(lamps(&app).await, [4, 0, 4]);
    let cancelled = document(
        &app,
        "cancellations",
        json!({ "items": [item(1, 2)], "reason": "Changed mind" }),
    )
    .await;
    cancelled.created();
    assert_eq!(lamps(&app).await, [6, 0, 6]);
    let lost = json!({ "items": [item(1, 1)], "reason": "Broken", "restock": false });
    document(&app, "cancellations", lost).await.created();
    let back = json!({ "items": [{ "product_id": 1, "quantity": 3, "restock": 2, "refund_amount": "12.00" }], "reason": "Too big" });
    let returned = document(&app, "returns", back).await;
    returned.created();
    assert_eq!(lamps(&app).await, [8, 0, 8]);
    assert_eq!(
        movements(&app).await,
        [
            moved("ORDER", -6, None),
            moved("CANCEL", 2, None),
            moved("CANCEL", 0, None),
            moved("RETURN", 2, None)
        ]
    );
    assert_eq!(
        returned.body["items"],
        json!([{ "order_item_id": 1, "product_id": 1, "quantity": 3, "restocked": 2, "refund_amount": "12.00" }])
    );
    let order = app.get("/api/orders/1/").await.body;
    assert_eq!(order, returned.body["order"]);
    assert_eq!(
        order["items"][0]["progress"],
        json!({ "cancelled": 3, "fulfilled": 0, "returned": 3, "restocked": 4 })
    );
    assert_eq!(order["items"][1]["progress"], Value::Null);
    let facts =
        ["status", "fulfillment", "returned", "refunded_amount", "version"].map(|name| order[name].clone());
    assert_eq!(
        json!(facts),
        json!(["CONFIRMED", "NOT_TRACKED", "PARTIAL", "42.00", 4])
    );
    let stats = app.get("/api/orders/stats/").await.body;
    let facts = [
        "confirmed_orders",
        "cancelled_orders",
        "total_revenue",
        "refunded_amount",
        "net_revenue",
    ];
    assert_eq!(
        json!(facts.map(|name| stats[name].clone())),
        json!([1, 0, "70.00", "42.00", "28.00"])
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn documents_of_a_tracked_order_change_the_committed_units() {
    let app = sold("TRACKED").await;
    assert_eq!(lamps(&app).await, [4, 6, 10]);
    let tracking = json!({ "carrier": "DHL", "number": "42" });
    let handed_over = json!({ "items": [item(1, 3)], "tracking": tracking, "note": "First parcel" });
    let fulfilled = document(&app, "fulfillments", handed_over).await;
    fulfilled.created();
    assert_eq!(fulfilled.body["order"]["fulfillment"], "PARTIAL");
    assert_eq!(fulfilled.body["tracking"], tracking);
    assert_eq!(lamps(&app).await, [4, 3, 7]);
    document(
        &app,
        "cancellations",
        json!({ "items": [item(1, 1)], "reason": "Late" }),
    )
    .await
    .created();
    assert_eq!(lamps(&app).await, [5, 2, 7]);
    let lost = json!({ "items": [item(1, 1)], "reason": "Broken", "restock": false });
    document(&app, "cancellations", lost).await.created();
    assert_eq!(lamps(&app).await, [5, 1, 6]);
    document(
        &app,
        "returns",
        json!({ "items": [item(1, 2)], "reason": "Too big" }),
    )
    .await
    .created();
    assert_eq!(lamps(&app).await, [7, 1, 8]);
    let rest = document(&app, "fulfillments", json!({})).await;
    assert_eq!(rest.body["order"]["fulfillment"], "FULFILLED", "{}", rest.text);
    assert_eq!(lamps(&app).await, [7, 0, 7]);
    assert_eq!(
        movements(&app).await,
        [
            moved("ORDER", -6, Some(0)),
            moved("FULFILL", 0, Some(-3)),
            moved("CANCEL", 1, Some(0)),
            moved("CANCEL", 0, Some(-1)),
            moved("RETURN", 2, Some(2)),
            moved("FULFILL", 0, Some(-1)),
        ]
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn an_order_of_which_all_units_are_cancelled_is_cancelled_and_not_confirmed_to_anybody() {
    let app = sold("IMMEDIATE").await;
    document(
        &app,
        "cancellations",
        json!({ "items": [item(1, 6)], "reason": "Late" }),
    )
    .await
    .created();
    let all = document(
        &app,
        "cancellations",
        json!({ "reason": "Late", "refund_amount": "0.50" }),
    )
    .await;
    all.created();
    assert_eq!(
        all.body["items"],
        json!([{ "order_item_id": 2, "product_id": 2, "quantity": 2, "restocked": 2, "refund_amount": null }])
    );
    let order = app.get("/api/orders/1/").await.body;
    assert_eq!(
        (&order["status"], &order["is_confirmed"]),
        (&json!("CANCELLED"), &json!(false))
    );
    let mut confirmed = app.pool.begin().await.unwrap();
    let owed: i64 = sqlx::query_scalar("select id from outbox")
        .fetch_one(&mut *confirmed)
        .await
        .unwrap();
    assert_eq!(
        afforo::outbox::settle(&mut *confirmed, &[owed], &["email"])
            .await
            .unwrap(),
        Vec::<i64>::new()
    );
    confirmed.commit().await.unwrap();
    let stats = app.get("/api/orders/stats/").await.body;
    let facts = [
        "total_orders",
        "confirmed_orders",
        "cancelled_orders",
        "total_revenue",
        "refunded_amount",
        "net_revenue",
    ];
    assert_eq!(
        json!(facts.map(|name| stats[name].clone())),
        json!([1, 0, 1, "0.00", "60.50", "9.50"])
    );
    let listed = app.get("/api/orders/?status=CANCELLED").await;
    assert_eq!(listed.column("id"), [1]);
    document(&app, "returns", json!({ "reason": "Late" })).await.is(
        409,
        json!({ "detail": "The order is CANCELLED.", "code": "invalid_transition", "status": "CANCELLED", "allowed": [] }),
    );
    let timeline = app.get("/api/orders/1/timeline/").await.body;
    let events: Vec<&Value> = timeline["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["kind"])
        .collect();
    assert_eq!(
        events,
        [
            "PLACED",
            "CONFIRMED",
            "CANCELLATION",
            "CONFIRMATION_WITHHELD",
            "CANCELLATION"
        ]
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn returned_units_go_to_another_store_or_to_a_row_that_was_deleted() {
    let app = sold("IMMEDIATE").await;
    let other = app.store("Outlet").await;
    assert_eq!(app.delete("/api/inventory/1/").await.status, 204);
    let back = json!({ "items": [item(1, 1)], "reason": "Too big", "to_store_id": other });
    assert_eq!(document(&app, "returns", back).await.body["to_store_id"], other);
    let scrap = json!({ "items": [{ "order_item_id": 1, "quantity": 1, "restock": 0 }], "reason": "Broken", "to_store_id": other });
    document(&app, "returns", scrap).await.created();
    document(
        &app,
        "returns",
        json!({ "items": [item(1, 2)], "reason": "Too big" }),
    )
    .await
    .created();
    let rows: Vec<(i64, i64, i32)> =
        sqlx::query_as("select store_id, product_id, quantity from inventory order by 1, 2")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(rows, [(1, 1, 2), (1, 2, 8), (other, 1, 1)]);
    app.delete(&format!("/api/stores/{other}/")).await.is(
        409,
        json!({ "detail": "Cannot delete this store: it has orders." }),
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn one_of_many_documents_gets_the_last_unit() {
    let app = Arc::new(sold("TRACKED").await);
    document(&app, "fulfillments", json!({ "items": [item(1, 5)] }))
        .await
        .created();
    let mut racing = JoinSet::new();
    for number in 0..16 {
        let app = app.clone();
        racing.spawn(async move {
            let body = json!({ "items": [item(1, 1)], "reason": "Late" });
            let kind = if number % 2 == 0 {
                "fulfillments"
            } else {
                "cancellations"
            };
            document(&app, kind, body).await.status.as_u16()
        });
    }
    let mut statuses = racing.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[..2], [201, 409]);
    assert_eq!(statuses[15], 409);
    assert_eq!(lamps(&app).await[1], 0);
    assert_eq!(app.unbalanced().await, []);
    no_deadlocks(&app.database_url).await;
}

#[tokio::test]
async fn a_repeated_document_takes_effect_once() {
    let app = sold("IMMEDIATE").await;
    let repeat = async || {
        let request = app.request(Method::POST, "/api/orders/1/cancellations/");
        let body = json!({ "items": [item(1, 2)], "reason": "Late" });
        send(request.header("idempotency-key", "a").json(&body)).await
    };
    let (first, second) = (repeat().await, repeat().await);
    assert_eq!((first.status, &first.text), (second.status, &second.text));
    assert_eq!(lamps(&app).await, [6, 0, 6]);
}

#[tokio::test]
async fn orders_are_listed_by_how_much_was_handed_over() {
    let app = sold("IMMEDIATE").await;
    app.patch("/api/stores/1/", &json!({ "fulfillment": "TRACKED" }))
        .await;
    for _ in 0..4 {
        app.order(1, &[(1, 1), (2, 1)]).await;
    }
    let all = json!({ "items": null, "reason": "Late" });
    let one = json!({ "items": [{ "product_id": 1, "quantity": 1 }], "reason": "Late" });
    for (order, kind, body) in [
        (3, "fulfillments", &one),
        (4, "cancellations", &one),
        (4, "fulfillments", &all),
        (5, "cancellations", &all),
    ] {
        let path = format!("/api/orders/{order}/{kind}/");
        app.post(&path, body).await.created();
    }
    for (fulfillment, orders) in [
        ("NOT_TRACKED", vec![1]),
        ("UNFULFILLED", vec![5, 2]),
        ("PARTIAL", vec![3]),
        ("FULFILLED", vec![4]),
    ] {
        let path = format!("/api/orders/?created_from=2020-01-01T00:00:00Z&fulfillment={fulfillment}");
        let listed = app.get(&path).await;
        assert_eq!(listed.column("id"), orders, "{fulfillment}: {}", listed.text);
        for order in orders {
            let order = app.get(&format!("/api/orders/{order}/")).await.body;
            assert_eq!(order["fulfillment"], fulfillment);
        }
    }
    assert_eq!(app.get("/api/orders/?fulfillment=PARTIAL").await.status, 400);
    assert_eq!(app.get("/api/orders/?fulfillment=none").await.status, 400);
}
