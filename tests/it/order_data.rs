//! What clients keep with orders: items by SKU, references, customers, notes, metadata, and the filters by them.

mod changes;
mod filters;
mod items;
mod privacy;
mod references;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, send};

const ORDERS: &str = "/api/orders/";

/// Store 1 with 100 lamps, product 1 with the SKU LAMP, and a chair, product 2, that it does not stock.
async fn shop() -> TestApp {
    fill(TestApp::start().await).await
}

async fn fill(app: TestApp) -> TestApp {
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 100).await;
    app.product("Chair", "75.00").await;
    app.patch("/api/products/1/", &json!({ "sku": "LAMP" })).await;
    app
}

/// An order of one lamp, with more members.
fn lamp(members: Value) -> Value {
    let mut order = json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 1 }] });
    if let Value::Object(members) = members {
        order.as_object_mut().unwrap().extend(members);
    }
    order
}

/// Sends an order under an idempotency key.
async fn keyed(app: &TestApp, key: &str, path: &str, order: &Value) -> Answer {
    let request = app.request(Method::POST, path).header("idempotency-key", key);
    send(request.json(order)).await
}

fn full() -> Value {
    json!({
        "external_reference": "WEB-1",
        "customer": { "reference": "C-7", "name": "Ada Jansen", "email": "ada@example.com", "phone": "+31 6 1" },
        "note": "Two\nlines",
        "metadata": { "channel": "web", "gift": "" },
    })
}

#[tokio::test]
async fn data_of_an_order_is_shown_and_a_plain_order_has_none_of_it() {
    let app = shop().await;
    let placed = app.post(ORDERS, &lamp(full())).await;
    let id = placed.created();
    let shown = app.get(&format!("{ORDERS}{id}/")).await.body;
    for (name, value) in full().as_object().unwrap() {
        assert_eq!((&placed.body[name], &shown[name]), (value, value), "{name}");
    }
    let row = &app.get(ORDERS).await.body["results"][0];
    assert_eq!(row["external_reference"], "WEB-1");
    assert_eq!(row["customer"], full()["customer"]);
    assert!(row.get("note").is_none() && row.get("metadata").is_none());

    let blank = json!({ "external_reference": "", "customer": { "name": null, "email": " " }, "note": null, "metadata": {} });
    for plain in [json!({}), blank] {
        let plain = app.post(ORDERS, &lamp(plain)).await;
        let shown = app.get(&format!("{ORDERS}{}/", plain.created())).await.body;
        let row = app.get(ORDERS).await.body["results"][0].clone();
        for body in [plain.body, shown, row] {
            for name in ["external_reference", "customer", "note", "metadata"] {
                assert!(body.get(name).is_none(), "{name}: {body}");
            }
        }
    }
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn wrong_data_is_refused_by_field() {
    let app = shop().await;
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (n.to_string(), json!("x"))).collect();
    for (members, errors) in [
        (
            json!({ "external_reference": "x".repeat(101), "note": 5.5, "customer": [], "metadata": "x" }),
            json!({
                "external_reference": ["Ensure this field has no more than 100 characters."],
                "customer": { "non_field_errors": ["Invalid data. Expected a dictionary, but got list."] },
                "metadata": ["Expected a dictionary of items but got type \"str\"."],
            }),
        ),
        (
            json!({ "external_reference": "a\u{7}b", "note": "n\u{0}", "customer": { "email": true, "phone": "1\n2" } }),
            json!({
                "external_reference": ["Control characters are not allowed."],
                "customer": { "email": ["Not a valid string."], "phone": ["Control characters are not allowed."] },
                "note": ["Null characters are not allowed."],
            }),
        ),
        (
            json!({ "note": "x".repeat(2001), "metadata": { "k".repeat(41): "" } }),
            json!({
                "note": ["Ensure this field has no more than 2000 characters."],
                "metadata": ["Ensure that each key has 1 to 40 characters."],
            }),
        ),
        (
            json!({ "metadata": { "color": "x".repeat(501) } }),
            json!({ "metadata": ["color: Ensure this field has no more than 500 characters."] }),
        ),
        (
            json!({ "metadata": { "color": {} } }),
            json!({ "metadata": ["color: Not a valid string."] }),
        ),
        (
            json!({ "metadata": many }),
            json!({ "metadata": ["Ensure this field has no more than 50 keys."] }),
        ),
    ] {
        app.post(ORDERS, &lamp(members)).await.is(400, errors);
    }
    assert_eq!(app.get(ORDERS).await.body["count"], 0);
}

#[tokio::test]
async fn longest_data_is_stored() {
    let app = shop().await;
    // Folding makes eighteen characters of this one.
    let long = "\u{fdfa}";
    let metadata: serde_json::Map<String, Value> = (0..50)
        .map(|n| (format!("{n:0>40}"), json!("€".repeat(500))))
        .collect();
    let data = json!({
        "external_reference": "€".repeat(100),
        "customer": { "reference": long.repeat(100), "name": long.repeat(200), "email": long.repeat(254), "phone": long.repeat(50) },
        "note": "€".repeat(2000),
        "metadata": metadata,
    });
    let id = app.post(ORDERS, &lamp(data.clone())).await.created();
    let shown = app.get(&format!("{ORDERS}{id}/")).await.body;
    for (name, value) in data.as_object().unwrap() {
        assert_eq!(&shown[name], value);
    }
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn an_order_without_data_stores_no_more_than_the_bits_of_its_null_columns() {
    let app = shop().await;
    app.post(ORDERS, &lamp(json!({}))).await.created();
    let (with, without): (i32, i32) = sqlx::query_as(
        "with plain as materialized (
             select id, store_id, status, total_amount, rejection_reason, rejections, created_at, updated_at from orders
         )
         select pg_column_size(o), pg_column_size(plain) from orders o join plain using (id)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert!(with - without <= 8, "{with} bytes, {without} without the columns");
    let written: i64 = sqlx::query_scalar(
        "select (select count(*) from order_key) + (select count(*) from order_reference)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(written, 0);
}
