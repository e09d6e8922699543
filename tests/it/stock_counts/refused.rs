//! Requests about stock counts that are refused.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{begin, enter, entered, line, shop};
use crate::{
    auth::guarded,
    support::app::{TestApp, send},
};

const REQUIRED: &str = "This field is required.";

#[tokio::test]
async fn wrong_fields_of_a_stock_count_are_named() {
    let app = shop().await;
    let one = "Send one of all, category_id, product_ids and not_counted_since.";
    for (new, errors) in [
        (json!({}), json!({ "store_id": [REQUIRED], "scope": [REQUIRED] })),
        (
            json!({ "store_id": 9, "scope": { "all": true } }),
            json!({ "store_id": ["Invalid pk \"9\" - object does not exist."] }),
        ),
        (
            json!({ "store_id": 1, "scope": null }),
            json!({ "scope": ["This field may not be null."] }),
        ),
        (
            json!({ "store_id": 1, "scope": {} }),
            json!({ "scope": { "non_field_errors": [one] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "all": false } }),
            json!({ "scope": { "non_field_errors": [one] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "all": true, "category_id": 1 } }),
            json!({ "scope": { "non_field_errors": [one] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "product_ids": [] } }),
            json!({ "scope": { "product_ids": ["At least one item is required"] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "not_counted_since": "soon" } }),
            json!({ "scope": { "not_counted_since": ["Send a time such as 2024-01-15T10:30:00Z."] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "product_ids": [1, 98] } }),
            json!({ "scope": { "product_ids": ["Invalid pk \"98\" - object does not exist."] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "category_id": 99 } }),
            json!({ "scope": { "category_id": ["Invalid pk \"99\" - object does not exist."] } }),
        ),
        (
            json!({ "store_id": 1, "scope": { "all": true }, "blind": "perhaps" }),
            json!({ "blind": ["Must be a valid boolean."] }),
        ),
        (
            json!({ "store_id": 1, "scope": { "all": true }, "reference": "x".repeat(101) }),
            json!({ "reference": ["Ensure this field has no more than 100 characters."] }),
        ),
    ] {
        app.post("/api/stock-counts/", &new).await.is(400, errors);
    }
    assert_eq!(
        app.get("/api/stock-counts/").await.column("id"),
        Vec::<Value>::new()
    );
    for query in ["status=gone", "store_id=x", "cursor=x"] {
        assert_eq!(
            app.get(&format!("/api/stock-counts/?{query}")).await.status,
            400,
            "{query}"
        );
    }
    let new = json!({ "store_id": 1, "scope": { "all": true } });
    let id = app.post("/api/stock-counts/", &new).await.created();
    for query in ["status=gone", "cursor=x"] {
        assert_eq!(
            app.get(&format!("/api/stock-counts/{id}/lines/?{query}"))
                .await
                .status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn wrong_lines_are_named_and_nothing_is_entered() {
    let app = shop().await;
    app.patch(
        "/api/products/1/",
        &json!({ "sku": "LAMP", "barcodes": [{ "code": "4012", "pack": 12 }] }),
    )
    .await;
    begin(&app).await;
    let created = app.get("/api/stock-counts/1/").await.body["created_at"].clone();
    let too_early = format!("Must not be earlier than {}.", created.as_str().unwrap());
    for (wrong, errors) in [
        (
            json!({}),
            json!({ "product_id": [REQUIRED], "counted": [REQUIRED] }),
        ),
        (json!({ "product_id": 1 }), json!({ "counted": [REQUIRED] })),
        (
            json!({ "product_id": 1, "counted": -1 }),
            json!({ "counted": ["Ensure this value is greater than or equal to 0."] }),
        ),
        (
            json!({ "product_id": 1, "sku": "LAMP", "counted": 1 }),
            json!({ "sku": ["Send either product_id or sku."] }),
        ),
        (
            json!({ "product_id": 1, "code": "LAMP", "counted": 1 }),
            json!({ "code": ["Send one of code, sku and product_id."] }),
        ),
        (
            json!({ "code": "9", "counted": 1 }),
            json!({ "code": ["No product has this code."] }),
        ),
        (
            json!({ "sku": "4012", "counted": 1 }),
            json!({ "sku": ["No product has this SKU."] }),
        ),
        (
            json!({ "product_id": 99, "counted": 1 }),
            json!({ "product_id": ["Invalid pk \"99\" - object does not exist."] }),
        ),
        (
            json!({ "code": "4012", "counted": 178_956_971 }),
            json!({ "counted": ["These are more than 2147483647 units."] }),
        ),
        (
            json!({ "product_id": 1, "counted": 1, "counted_at": "2020-01-01T00:00:00Z" }),
            json!({ "counted_at": [too_early] }),
        ),
        (
            json!({ "product_id": 1, "counted": 1, "counted_at": 5 }),
            json!({ "counted_at": ["Send a time such as 2024-01-15T10:30:00Z."] }),
        ),
        (
            json!({ "product_id": 1, "counted": 1, "add": "perhaps" }),
            json!({ "add": ["Must be a valid boolean."] }),
        ),
    ] {
        enter(&app, json!([line(2, 10), wrong]))
            .await
            .is(400, json!({ "lines": [{}, errors] }));
    }
    let future = enter(
        &app,
        json!([{ "product_id": 1, "counted": 1, "counted_at": "2999-01-01T00:00:00Z" }]),
    )
    .await;
    let message = future.body["lines"][0]["counted_at"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.starts_with("Must not be later than ") && message.ends_with("which is now."),
        "{message}"
    );
    for lines in [json!([]), json!(null), json!({}), json!(vec![line(1, 1); 1001])] {
        assert_eq!(enter(&app, lines).await.status, 400);
    }
    let sheet = app.get("/api/stock-counts/1/lines/").await;
    assert_eq!(sheet.column("entries"), [0, 0]);
}

#[tokio::test]
async fn a_product_has_a_limited_number_of_entries() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 5)])).await;
    let many = "with entry as (
            insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added)
            select 1, 1, 0, now(), true from generate_series(1, 9998)
        ) update stock_count_line set entries = 9999, counted_at = now()";
    sqlx::query(many).execute(&app.pool).await.unwrap();
    let scan = json!({ "product_id": 1, "counted": 1, "add": true });
    enter(&app, json!([scan, scan])).await.is(
        400,
        json!({ "lines": [{}, { "non_field_errors": ["Product 1 has 10000 entries in this stock count."] }] }),
    );
    let lines = entered(&app, json!([scan])).await;
    assert_eq!(
        (&lines[0]["counted"], &lines[0]["entries"]),
        (&json!(6), &json!(10_000))
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn nothing_is_counted_more_than_a_week_ago() {
    let app = shop().await;
    begin(&app).await;
    let old = "update stock_count set created_at = created_at - interval '30 days'";
    sqlx::query(old).execute(&app.pool).await.unwrap();
    let time: String = sqlx::query_scalar(
        "select to_char((now() - interval '8 days') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let refused = enter(
        &app,
        json!([{ "product_id": 1, "counted": 1, "counted_at": time }]),
    )
    .await;
    let message = refused.body["lines"][0]["counted_at"][0].as_str().unwrap();
    assert!(message.starts_with("Must not be earlier than "), "{message}");
}

#[tokio::test]
async fn a_stock_count_that_is_not_open_takes_nothing() {
    let app = shop().await;
    begin(&app).await;
    let post = async |path: &str, body: Value| app.post(&format!("/api/stock-counts/1/{path}/"), &body).await;
    for path in ["apply", "cancel"] {
        post(path, json!({ "expected_version": 7 })).await.is(
            409,
            json!({ "detail": "The version of the stock count is 1, not the expected one.", "code": "stale_version", "version": 1 }),
        );
    }
    post("apply", json!({ "uncounted": "all" }))
        .await
        .is(400, json!({ "uncounted": ["\"all\" is not a valid choice."] }));
    let cancelled = post("cancel", json!({ "expected_version": 1 })).await;
    assert_eq!(cancelled.body["version"], 2);
    for (path, body) in [
        ("lines", json!({ "lines": [line(1, 1)] })),
        ("apply", json!({})),
        ("cancel", json!({})),
    ] {
        post(path, body).await.is(
            409,
            json!({ "detail": "The stock count is CANCELLED.", "code": "invalid_transition", "status": "CANCELLED", "allowed": [] }),
        );
    }
    for path in [
        "/api/stock-counts/9/",
        "/api/stock-counts/9/lines/",
        "/api/stock-counts/9/entries/",
    ] {
        app.get(path)
            .await
            .is(404, json!({ "detail": "No StockCount matches the given query." }));
    }
}

#[tokio::test]
async fn a_key_of_another_store_sees_no_stock_count() {
    let open = shop().await;
    open.store("Other").await;
    begin(&open).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let scopes = [Scope::InventoryRead, Scope::InventoryWrite];
    let key = app.key(&scopes, Stores::Only([2].into())).await;
    let ask = async |method: Method, path: &str, body: Value| {
        send(app.request(method, path).header("x-api-key", &key).json(&body)).await
    };
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "lines/"),
        (Method::GET, "entries/"),
        (Method::POST, "lines/"),
        (Method::POST, "apply/"),
        (Method::POST, "cancel/"),
    ] {
        let answer = ask(
            method,
            &format!("/api/stock-counts/1/{path}"),
            json!({ "lines": [line(1, 1)] }),
        )
        .await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(
        ask(Method::GET, "/api/stock-counts/", json!({}))
            .await
            .column("id"),
        Vec::<Value>::new()
    );
    let new = json!({ "store_id": 1, "scope": { "all": true } });
    ask(Method::POST, "/api/stock-counts/", new).await.is(
        400,
        json!({ "store_id": ["Invalid pk \"1\" - object does not exist."] }),
    );
}

#[tokio::test]
async fn what_a_stock_count_refers_to_stays() {
    let app = shop().await;
    let tables = app.category("Tables").await;
    begin(&app).await;
    let of_category = json!({ "store_id": 1, "scope": { "category_id": tables } });
    app.post("/api/stock-counts/", &of_category).await.created();
    entered(&app, json!([line(1, 20)])).await;
    let being_counted =
        json!({ "detail": "An open stock count has a line of this stock.", "code": "in_use" });
    app.delete("/api/inventory/1/").await.is(409, being_counted);
    let other = app.store("Other").await;
    let moved = json!({ "store_id": other });
    let documented = json!({ "detail": "Cannot move this stock to another store or product: transfers or stock counts refer to it.", "code": "in_use" });
    app.patch("/api/inventory/1/", &moved).await.is(409, documented);
    for path in [
        "/api/stores/1/".to_owned(),
        "/api/products/1/".to_owned(),
        format!("/api/categories/{tables}/"),
    ] {
        let refused = app.delete(&path).await;
        assert_eq!(refused.status, 409, "{path}: {}", refused.text);
    }
    app.post("/api/stock-counts/1/cancel/", &json!({})).await;
    assert_eq!(app.delete("/api/inventory/1/").await.status, 204);
    assert_eq!(app.unbalanced().await, []);
}

/// The store, the category and products of a deletion that races with the stock count.
#[tokio::test]
async fn a_product_that_is_deleted_meanwhile_is_not_counted() {
    let app: TestApp = shop().await;
    begin(&app).await;
    assert_eq!(app.delete("/api/products/3/").await.status, 204);
    enter(&app, json!([line(3, 1)])).await.is(
        400,
        json!({ "lines": [{ "product_id": ["Invalid pk \"3\" - object does not exist."] }] }),
    );
}
