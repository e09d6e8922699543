//! Stock counts while the store goes on selling.

mod during_sales;
mod entries;
mod large;
mod refused;
mod sheet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, send};

/// Store 1 with twenty lamps (product 1) and ten chairs (product 2), and no stock of desks (product 3).
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    app.store("Main").await;
    for (title, quantity) in [("Lamp", Some(20)), ("Chair", Some(10)), ("Desk", None)] {
        let product = app.product(title, "2.50").await;
        if let Some(quantity) = quantity {
            app.stock(1, product, quantity).await;
        }
    }
    app
}

/// Begins a stock count of all stock, with the id 1.
async fn begin(app: &TestApp) {
    let new = json!({ "store_id": 1, "scope": { "all": true }, "reference": "SC-1" });
    assert_eq!(app.post("/api/stock-counts/", &new).await.created(), 1);
}

fn line(product: i64, counted: i64) -> Value {
    json!({ "product_id": product, "counted": counted })
}

async fn enter(app: &TestApp, lines: Value) -> Answer {
    app.post("/api/stock-counts/1/lines/", &json!({ "lines": lines }))
        .await
}

/// The same, which succeeds. Returns the lines.
async fn entered(app: &TestApp, lines: Value) -> Value {
    let answer = enter(app, lines).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["lines"].clone()
}

/// Applies the stock count. Returns the numbers of lines that are applied, failed and superseded, and whether lines are left.
async fn apply(app: &TestApp, body: Value) -> (i64, i64, i64, bool) {
    let answer = app.post("/api/stock-counts/1/apply/", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    numbers(&answer.body)
}

fn numbers(applied: &Value) -> (i64, i64, i64, bool) {
    let [applied_lines, failed, superseded] =
        ["applied", "failed", "superseded"].map(|name| applied[name].as_i64().unwrap());
    (
        applied_lines,
        failed,
        superseded,
        applied["partial"].as_bool().unwrap(),
    )
}

/// Product, change and quantity of the movements of stock counts, oldest first.
async fn movements(app: &TestApp) -> Vec<(i64, i32, i32)> {
    sqlx::query_as(
        "select i.product_id, m.delta, m.quantity_after from stock_movement m join inventory i on i.id = m.inventory_id
         where m.kind = 'COUNT' and m.reference_type = 'STOCK_COUNT' and m.reference_id = 1 order by m.id",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap()
}

async fn quantities(app: &TestApp) -> Vec<(i64, i32)> {
    sqlx::query_as("select product_id, quantity from inventory where store_id = 1 order by product_id")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

async fn status(app: &TestApp) -> Value {
    app.get("/api/stock-counts/1/").await.body["status"].clone()
}

#[tokio::test]
async fn sales_before_and_after_the_counting_stay() {
    let app = shop().await;
    begin(&app).await;
    app.order(1, &[(1, 3)]).await.created();
    // 17 lamps are expected, and one of them is missing.
    entered(&app, json!([line(1, 16), line(2, 10)])).await;
    app.order(1, &[(1, 5), (2, 1)]).await.created();
    assert_eq!(apply(&app, json!({})).await, (2, 0, 0, false));
    assert_eq!(quantities(&app).await, [(1, 11), (2, 9)]);
    assert_eq!(movements(&app).await, [(1, -1, 11), (2, 0, 9)]);
    let lines = app.get("/api/stock-counts/1/lines/").await.body["results"].clone();
    let lamps = &lines[0];
    assert_eq!(
        [
            &lamps["status"],
            &lamps["counted"],
            &lamps["expected"],
            &lamps["variance"],
            &lamps["variance_value"]
        ],
        [
            &json!("APPLIED"),
            &json!(16),
            &json!(17),
            &json!(-1),
            &json!("-2.50")
        ]
    );
    assert_eq!(
        (&lines[1]["variance"], &lines[1]["variance_value"]),
        (&json!(0), &json!("0.00"))
    );
    assert_eq!(status(&app).await, "APPLIED");
    let explained = app.get("/api/inventory/1/explain/").await.body;
    assert_eq!(
        (&explained["terms"]["counted"], &explained["balanced"]),
        (&json!(-1), &json!(true))
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_stock_count_is_applied_once() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 25)])).await;
    let apply_with = async |key: &str| {
        let request = app.request(Method::POST, "/api/stock-counts/1/apply/");
        send(request.header("idempotency-key", key).json(&json!({}))).await
    };
    let first = apply_with("a").await;
    assert_eq!(numbers(&first.body), (1, 0, 0, false));
    let repeated = apply_with("a").await;
    assert_eq!(repeated.text, first.text);
    let other = apply_with("b").await;
    assert_eq!(other.text, first.text, "nothing is left to apply");
    assert_eq!(
        apply(&app, json!({ "uncounted": "zero" })).await,
        (1, 0, 0, false)
    );
    assert_eq!(movements(&app).await, [(1, 5, 25)]);
    assert_eq!(quantities(&app).await, [(1, 25), (2, 10)]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_quantity_that_was_set_after_the_counting_supersedes_the_line() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 25), line(2, 7)])).await;
    let set = app.patch("/api/inventory/1/", &json!({ "quantity": 19 })).await;
    assert!(set.body["counted_at"].is_string(), "{}", set.text);
    // Units that are added do not set the quantity.
    let added = json!({ "kind": "add", "quantity": 4, "reason": "Delivery" });
    app.post("/api/inventory/2/movements/", &added).await.created();
    assert_eq!(apply(&app, json!({})).await, (1, 0, 1, false));
    assert_eq!(quantities(&app).await, [(1, 19), (2, 11)]);
    let lines = app.get("/api/stock-counts/1/lines/?status=SUPERSEDED").await;
    assert_eq!(lines.column("product_id"), [1]);
    assert_eq!(lines.body["results"][0]["variance"], Value::Null);
    assert_eq!(status(&app).await, "APPLIED");
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_second_stock_count_of_the_same_goods_is_superseded() {
    let app = shop().await;
    begin(&app).await;
    let second = json!({ "store_id": 1, "scope": { "product_ids": [1] } });
    app.post("/api/stock-counts/", &second).await.created();
    entered(&app, json!([line(1, 18)])).await;
    let twice = json!({ "lines": [line(1, 18)] });
    assert_eq!(app.post("/api/stock-counts/2/lines/", &twice).await.status, 200);
    assert_eq!(apply(&app, json!({})).await, (1, 0, 0, false));
    let second = app.post("/api/stock-counts/2/apply/", &json!({})).await;
    assert_eq!(numbers(&second.body), (0, 0, 1, false));
    assert_eq!(quantities(&app).await, [(1, 18), (2, 10)]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_line_below_what_was_sold_fails_with_the_orders_until_their_units_are_back() {
    let app = shop().await;
    begin(&app).await;
    app.order(1, &[(1, 2)]).await.created();
    entered(&app, json!([line(1, 3)])).await;
    // 18 lamps were expected. Of the 15 that are sold after the counting, only 3 were there.
    let orders = [
        app.order(1, &[(1, 5)]).await.created(),
        app.order(1, &[(1, 4), (2, 1)]).await.created(),
        app.order(1, &[(1, 6)]).await.created(),
    ];
    assert_eq!(apply(&app, json!({})).await, (0, 1, 0, true));
    assert_eq!(quantities(&app).await, [(1, 3), (2, 9)]);
    assert_eq!(status(&app).await, "OPEN");
    let failed = app.get("/api/stock-counts/1/lines/?status=FAILED").await.body["results"][0].clone();
    assert_eq!(
        [&failed["code"], &failed["missing"], &failed["order_ids"]],
        [
            &json!("counted_below_committed"),
            &json!(12),
            &json!([orders[2], orders[1], orders[0]])
        ]
    );
    let cancelled = json!({ "items": null, "reason": "Out of stock", "restock": true });
    for order in &orders[..2] {
        app.post(&format!("/api/orders/{order}/cancellations/"), &cancelled)
            .await
            .created();
    }
    let failed = app.get("/api/stock-counts/1/lines/?status=FAILED").await.body["results"][0].clone();
    assert_eq!(failed["order_ids"], json!([orders[2]]), "{failed}");
    assert_eq!(apply(&app, json!({})).await, (0, 1, 0, true));
    app.post(&format!("/api/orders/{}/cancellations/", orders[2]), &cancelled)
        .await
        .created();
    assert_eq!(apply(&app, json!({})).await, (1, 0, 0, false));
    assert_eq!(quantities(&app).await, [(1, 3), (2, 10)]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn what_is_not_there_does_not_stay_reserved() {
    let app = shop().await;
    begin(&app).await;
    for units in [8, 9] {
        let reserve = json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": units }] });
        app.post("/api/reservations/", &reserve).await.created();
    }
    entered(&app, json!([line(1, 12)])).await;
    assert_eq!(apply(&app, json!({})).await, (1, 0, 0, false));
    let lamps = app.get("/api/inventory/1/").await.body;
    assert_eq!((&lamps["quantity"], &lamps["reserved"]), (&json!(12), &json!(8)));
    assert_eq!(app.get("/api/reservations/2/").await.body["status"], "RELEASED");
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn units_that_are_sold_and_not_handed_over_are_counted() {
    let app = shop().await;
    app.patch("/api/stores/1/", &json!({ "fulfillment": "TRACKED" }))
        .await;
    let order = app.order(1, &[(1, 6)]).await.created();
    begin(&app).await;
    entered(&app, json!([line(1, 19)])).await;
    app.post(&format!("/api/orders/{order}/fulfillments/"), &json!({}))
        .await
        .created();
    app.order(1, &[(1, 2)]).await.created();
    assert_eq!(apply(&app, json!({})).await, (1, 0, 0, false));
    let lamps = app.get("/api/inventory/1/").await.body;
    assert_eq!(
        (&lamps["quantity"], &lamps["committed"], &lamps["on_hand"]),
        (&json!(11), &json!(2), &json!(13))
    );
    // Nothing is there any more, not even what is sold.
    let second = json!({ "store_id": 1, "scope": { "all": true } });
    app.post("/api/stock-counts/", &second).await.created();
    let none = json!({ "lines": [line(1, 0)] });
    assert_eq!(app.post("/api/stock-counts/2/lines/", &none).await.status, 200);
    let applied = app.post("/api/stock-counts/2/apply/", &json!({})).await;
    assert_eq!(numbers(&applied.body), (0, 1, 0, true));
    let failed = app.get("/api/stock-counts/2/lines/?status=FAILED").await.body["results"][0].clone();
    assert_eq!(
        (&failed["missing"], &failed["order_ids"]),
        (&json!(2), &json!([order + 1]))
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn goods_without_a_stock_row_get_one() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(3, 4)])).await;
    assert_eq!(apply(&app, json!({})).await, (1, 0, 0, false));
    assert_eq!(quantities(&app).await, [(1, 20), (2, 10), (3, 4)]);
    assert_eq!(movements(&app).await, [(3, 4, 4)]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn stock_that_was_not_counted_is_left_or_set_to_zero() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(2, 9)])).await;
    let dry = app
        .post(
            "/api/stock-counts/1/apply/?dry_run=true",
            &json!({ "uncounted": "zero" }),
        )
        .await;
    assert_eq!(numbers(&dry.body), (2, 0, 0, false));
    assert_eq!(quantities(&app).await, [(1, 20), (2, 10)]);
    assert_eq!(
        apply(&app, json!({ "uncounted": "zero" })).await,
        (2, 0, 0, false)
    );
    assert_eq!(quantities(&app).await, [(1, 0), (2, 9)]);
    let lines = app.get("/api/stock-counts/1/lines/").await;
    assert_eq!(lines.column("entries"), [0, 1]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_cancelled_stock_count_leaves_stock_as_it_is() {
    let app = shop().await;
    let lamps = app.get("/api/inventory/1/").await.body;
    begin(&app).await;
    entered(&app, json!([line(1, 1)])).await;
    let cancelled = app.post("/api/stock-counts/1/cancel/", &json!({})).await;
    assert_eq!(
        (cancelled.status.as_u16(), &cancelled.body["status"]),
        (200, &json!("CANCELLED"))
    );
    assert_eq!(app.get("/api/inventory/1/").await.body, lamps);
    assert_eq!(app.unbalanced().await, []);
}
