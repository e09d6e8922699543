//! `?dry_run=true`: a write answers what it would answer, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{Answer, TestApp, send};

/// A successful request for each write of the API, in a sequence in which all succeed.
fn writes() -> Vec<(Method, &'static str, Value)> {
    let product = json!({ "title": "Desk", "price": "2.00", "category_id": 1 });
    let stock = json!({ "store_id": 1, "product_id": 2, "quantity": 4 });
    let store = json!({ "name": "North", "location": "Here" });
    vec![
        (Method::POST, "/api/categories/", json!({ "name": "Tools" })),
        (Method::PUT, "/api/categories/1/", json!({ "name": "Light" })),
        (Method::PATCH, "/api/categories/1/", json!({ "name": "Lights" })),
        (Method::POST, "/api/stores/", store.clone()),
        (Method::PUT, "/api/stores/2/", store),
        (Method::PATCH, "/api/stores/2/", json!({ "is_active": false })),
        (Method::POST, "/api/products/", product.clone()),
        (Method::PUT, "/api/products/2/", product),
        (Method::PATCH, "/api/products/2/", json!({ "price": 3 })),
        (
            Method::PUT,
            "/api/products/by-sku/NEW/",
            json!({ "title": "New", "price": 3, "category_id": 1 }),
        ),
        (
            Method::POST,
            "/api/products/bulk/",
            json!({ "products": [
                { "sku": "NEW", "price": 4 }, { "sku": "OTHER", "title": "Other", "price": 3, "category_id": 1 },
            ] }),
        ),
        (Method::POST, "/api/inventory/", stock.clone()),
        (Method::PUT, "/api/inventory/2/", stock),
        (
            Method::PATCH,
            "/api/inventory/2/",
            json!({ "quantity": 9, "expected_quantity": 4 }),
        ),
        (
            Method::POST,
            "/api/inventory/1/movements/",
            json!({ "kind": "count", "quantity": 8, "reason": "Counted" }),
        ),
        (
            Method::POST,
            "/api/inventory/adjustments/",
            json!({ "reason_code": "FOUND", "create_missing": true, "reference": "GRN-1", "adjustments": [
                { "inventory_id": 1, "delta": 2 }, { "store_id": 2, "product_id": 1, "delta": 1 },
            ] }),
        ),
        (
            Method::POST,
            "/api/inventory/reversals/",
            json!({ "reference": "GRN-1", "reason": "Sent back" }),
        ),
        (
            Method::POST,
            "/api/orders/",
            json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 3 }] }),
        ),
        (
            Method::POST,
            "/api/orders/",
            json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 300 }] }),
        ),
        (
            Method::PATCH,
            "/api/orders/1/",
            json!({ "note": "Ring twice", "external_reference": "WEB-1", "metadata": { "channel": "web" } }),
        ),
        (
            Method::POST,
            "/api/orders/1/cancellations/",
            json!({ "items": [{ "product_id": 1, "quantity": 1 }], "reason": "Late" }),
        ),
        (
            Method::POST,
            "/api/orders/1/returns/",
            json!({ "items": [{ "order_item_id": 1, "quantity": 1 }], "reason": "Late" }),
        ),
        (
            Method::PATCH,
            "/api/stores/1/",
            json!({ "fulfillment": "TRACKED" }),
        ),
        (
            Method::POST,
            "/api/orders/",
            json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 1 }] }),
        ),
        (Method::POST, "/api/orders/3/fulfillments/", json!({})),
        (
            Method::POST,
            "/api/reservations/",
            json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 2 }], "reference": "cart-1" }),
        ),
        (
            Method::POST,
            "/api/reservations/1/extend/",
            json!({ "ttl_seconds": 3600 }),
        ),
        (
            Method::POST,
            "/api/reservations/1/release/",
            json!({ "items": [{ "product_id": 1, "quantity": 1 }] }),
        ),
        (Method::POST, "/api/orders/", json!({ "reservation_id": 1 })),
        (
            Method::POST,
            "/api/stores/",
            json!({ "name": "South", "location": "There" }),
        ),
        (Method::POST, "/api/transfers/", transfer(true)),
        (Method::POST, "/api/transfers/", transfer(false)),
        (Method::PATCH, "/api/transfers/2/", json!({ "reference": "TO-1" })),
        (Method::POST, "/api/transfers/2/ship/", json!({})),
        (
            Method::POST,
            "/api/transfers/2/receive/",
            json!({ "items": [{ "product_id": 1, "received": 1 }] }),
        ),
        (
            Method::POST,
            "/api/transfers/2/cancel/",
            json!({ "items": [{ "product_id": 1, "returned": 1 }] }),
        ),
        (
            Method::POST,
            "/api/stock-counts/",
            json!({ "store_id": 1, "scope": { "product_ids": [1] } }),
        ),
        (
            Method::POST,
            "/api/stock-counts/1/lines/",
            json!({ "lines": [{ "product_id": 1, "counted": 3 }] }),
        ),
        (
            Method::POST,
            "/api/stock-counts/1/apply/",
            json!({ "uncounted": "zero" }),
        ),
        (
            Method::POST,
            "/api/stock-counts/",
            json!({ "store_id": 1, "scope": { "product_ids": [1] } }),
        ),
        (Method::POST, "/api/stock-counts/2/cancel/", json!({})),
        (Method::DELETE, "/api/inventory/2/", Value::Null),
        (Method::DELETE, "/api/products/2/", Value::Null),
        (Method::DELETE, "/api/stores/2/", Value::Null),
        (Method::DELETE, "/api/categories/2/", Value::Null),
    ]
}

fn transfer(immediate: bool) -> Value {
    let items = json!([{ "product_id": 1, "quantity": 2 }]);
    json!({ "from_store_id": 1, "to_store_id": 3, "items": items, "immediate": immediate })
}

async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    app.stock(store, product, 10).await;
    app
}

/// The rows of all tables as text.
async fn contents(pool: &PgPool) -> BTreeMap<String, String> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(pool)
            .await
            .unwrap();
    let mut contents = BTreeMap::new();
    for table in tables {
        let rows = format!("select coalesce(string_agg(t::text, ' ' order by t::text), '') from {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
            .fetch_one(pool)
            .await
            .unwrap();
        contents.insert(table, rows);
    }
    contents
}

/// Sets the sequences back: a dry run takes ids from them, and the next request names the ids of the test.
async fn restore_sequences(pool: &PgPool, values: &[(String, Option<i64>)]) {
    for (name, value) in values {
        sqlx::query("select setval($1::text::regclass, $2, $3)")
            .bind(name)
            .bind(value.unwrap_or(1))
            .bind(value.is_some())
            .execute(pool)
            .await
            .unwrap();
    }
}

async fn ask(app: &TestApp, method: &Method, path: &str, body: &Value) -> Answer {
    send(app.request(method.clone(), path).json(body)).await
}

/// Replaces what a dry run cannot know: ids of new records, and times.
fn comparable(mut body: Value, is_creation: bool) -> Value {
    fn visit(body: &mut Value, is_creation: bool) {
        let Value::Object(members) = body else { return };
        let is_updated = members.get("status").is_some_and(|status| status == "updated");
        let is_creation = is_creation && !is_updated;
        for (name, value) in members {
            match value {
                Value::Array(elements) => elements
                    .iter_mut()
                    .for_each(|element| visit(element, is_creation)),
                Value::Object(_) => visit(value, false),
                _ if name.ends_with("_at") => *value = json!("…"),
                _ if is_creation && (name == "id" || name == "movement_id") => *value = Value::Null,
                _ => {}
            }
        }
    }
    visit(&mut body, is_creation);
    body
}

#[tokio::test]
async fn a_dry_run_predicts_the_response_of_every_write_and_changes_nothing() {
    let app = shop().await;
    let mut seen = BTreeSet::new();
    for (method, path, body) in writes() {
        let before = contents(&app.pool).await;
        let sequences = sqlx::query_as("select sequencename::text, last_value from pg_sequences");
        let sequences: Vec<(String, Option<i64>)> = sequences.fetch_all(&app.pool).await.unwrap();
        let dry = ask(&app, &method, &format!("{path}?dry_run=true"), &body).await;
        assert_eq!(contents(&app.pool).await, before, "{method} {path}");
        assert_eq!(dry.header("dry-run"), "true", "{method} {path}: {}", dry.text);
        restore_sequences(&app.pool, &sequences).await;
        let real = ask(&app, &method, path, &body).await;
        assert!(real.status.is_success(), "{method} {path}: {}", real.text);
        if method == Method::DELETE {
            assert_eq!((dry.status, &dry.text), (real.status, &real.text), "{path}");
        } else {
            let is_action = path.starts_with("/api/transfers/2/") || path.ends_with("/2/cancel/");
            let is_creation = method == Method::POST && !is_action || real.status == 201;
            assert_eq!(dry.status, 200, "{method} {path}: {}", dry.text);
            let (dry, real) = (comparable(dry.body, false), comparable(real.body, is_creation));
            assert_eq!(dry, real, "{method} {path}");
        }
        let template = path.split('/').map(|part| match part {
            "NEW" => "{sku}",
            part if part.parse::<u32>().is_ok() => "{id}",
            part => part,
        });
        seen.insert((
            template.collect::<Vec<_>>().join("/"),
            method.as_str().to_lowercase(),
        ));
    }
    // It needs a key, and has a test of its own.
    seen.insert(("/api/orders/{id}/redact/".to_owned(), "post".to_owned()));
    let document = app.get("/api/openapi.json").await.body;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["post", "put", "patch", "delete"] {
            let pair = (path.clone(), method.to_owned());
            assert!(
                item[method].is_null() || seen.contains(&pair),
                "add a request for {pair:?}"
            );
        }
    }
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_dry_run_has_the_ids_of_records_that_exist() {
    let app = shop().await;
    let order = json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 3 }], "external_reference": "WEB-1" });
    app.post("/api/orders/", &order).await.created();
    let path = "/api/orders/?on_duplicate=return";
    let (dry, real) = (
        app.post(&format!("{path}&dry_run=true"), &order).await,
        app.post(path, &order).await,
    );
    assert_eq!(real.body["id"], 1, "{}", real.text);
    assert_eq!(dry.body, real.body);

    let product = |sku| json!({ "sku": sku, "title": "Desk", "price": "2.00", "category_id": 1 });
    let products = json!({ "products": [product("OLD"), product("SAME")] });
    assert_eq!(app.post("/api/products/bulk/", &products).await.status, 200);
    let products =
        json!({ "products": [{ "sku": "OLD", "price": "3.00" }, product("SAME"), product("NEW")] });
    let dry = app.post("/api/products/bulk/?dry_run=true", &products).await;
    assert_eq!(
        dry.body["results"],
        json!([
            { "index": 0, "sku": "OLD", "status": "updated", "id": 2 },
            { "index": 1, "sku": "SAME", "status": "unchanged", "id": 3 },
            { "index": 2, "sku": "NEW", "status": "created", "id": null },
        ])
    );
}

#[tokio::test]
async fn a_dry_run_is_refused_as_the_request_would_be() {
    let app = shop().await;
    for (method, path, body) in [
        (
            Method::POST,
            "/api/orders/",
            json!({ "store_id": 9, "items": [{ "product_id": 1, "quantity": 1 }] }),
        ),
        (Method::POST, "/api/categories/", json!({ "name": " " })),
        (
            Method::PATCH,
            "/api/inventory/1/",
            json!({ "quantity": 1, "expected_quantity": 9 }),
        ),
        (
            Method::POST,
            "/api/inventory/adjustments/",
            json!({ "reason_code": "LOST", "adjustments": [{ "inventory_id": 1, "delta": -11 }] }),
        ),
        (Method::DELETE, "/api/products/9/", Value::Null),
    ] {
        let dry = ask(&app, &method, &format!("{path}?dry_run=true"), &body).await;
        let real = ask(&app, &method, path, &body).await;
        assert!(real.status.is_client_error(), "{path}");
        assert_eq!((dry.status, &dry.text), (real.status, &real.text), "{path}");
        assert!(!dry.headers.contains_key("dry-run"), "{path}");
    }
}

#[tokio::test]
async fn another_value_than_true_or_false_is_refused() {
    let app = shop().await;
    let category = json!({ "name": "Tools" });
    for value in ["1", "yes", "", "%00"] {
        app.post(&format!("/api/categories/?dry_run={value}"), &category)
            .await
            .is(400, json!({ "dry_run": ["Must be true or false."] }));
        app.delete(&format!("/api/inventory/1/?dry_run={value}"))
            .await
            .is(400, json!({ "dry_run": ["Must be true or false."] }));
    }
    assert_eq!(
        app.get("/api/inventory/?dry_run=1").await.body["count"],
        1,
        "a read"
    );
    assert_eq!(
        app.post("/api/categories/?dry_run=False", &category).await.status,
        201
    );
}

#[tokio::test]
async fn a_dry_run_takes_no_idempotency_key() {
    let app = shop().await;
    let request = app.request(Method::POST, "/api/categories/?dry_run=true");
    let request = request
        .header("idempotency-key", "a")
        .json(&json!({ "name": "Tools" }));
    send(request).await.is(
        400,
        json!({ "detail": "A dry run takes no Idempotency-Key: it stores no response." }),
    );
}

#[tokio::test]
async fn the_query_is_part_of_a_keyed_request() {
    let app = shop().await;
    let post = async |path: &str| {
        let request = app.request(Method::POST, path).header("idempotency-key", "a");
        send(request.json(&json!({ "name": "Tools" })))
            .await
            .status
            .as_u16()
    };
    assert_eq!(post("/api/categories/").await, 201);
    assert_eq!(post("/api/categories/?").await, 201, "the stored response");
    assert_eq!(post("/api/categories/?other=1").await, 422);
}
