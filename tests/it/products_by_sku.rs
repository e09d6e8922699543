//! Products that an integration keeps by their SKU: lists, the search, one PUT, and many in one request.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    app::{Answer, TestApp, send},
    walk::{column, walk},
};

const LIST: &str = "/api/products/";
const BULK: &str = "/api/products/bulk/";
const LAMP: &str = "/api/products/by-sku/LAMP%2F1/";

/// The fields of a new product.
fn fields(title: &str) -> Value {
    json!({ "title": title, "price": "10.00", "category_id": 1 })
}

async fn shop() -> TestApp {
    let app = TestApp::start().await;
    app.category("Lights").await;
    app
}

async fn put(app: &TestApp, path: &str, header: (&str, &str), body: &Value) -> Answer {
    send(
        app.request(Method::PUT, path)
            .header(header.0, header.1)
            .json(body),
    )
    .await
}

async fn bulk(app: &TestApp, mode: &str, products: Value) -> Answer {
    app.post(BULK, &json!({ "mode": mode, "products": products }))
        .await
}

#[tokio::test]
async fn put_creates_a_product_by_sku_and_then_replaces_it() {
    let app = shop().await;
    let created = app.put(LAMP, &fields("Lamp")).await;
    assert_eq!(
        (created.status.as_u16(), &created.body["sku"]),
        (201, &json!("LAMP/1"))
    );
    let body = json!({ "title": "Desk lamp", "price": 12, "category_id": 1, "sku": "LAMP/1", "barcodes": [{ "code": "8712" }] });
    let replaced = app.put(LAMP, &body).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    assert_eq!(replaced.body["title"], "Desk lamp");
    assert_eq!(replaced.body, app.get("/api/products/1/").await.body);
    assert_eq!(
        replaced.headers["etag"],
        app.get("/api/products/1/").await.headers["etag"]
    );
    // Without a difference, nothing is written.
    assert_eq!(app.put(LAMP, &body).await.body, replaced.body);

    let other = json!({ "title": "Lamp", "price": 12, "category_id": 1, "sku": "LAMP" });
    app.put(LAMP, &other)
        .await
        .is(400, json!({ "sku": ["This is not the SKU in the path."] }));
    app.put("/api/products/by-sku/8712/", &fields("Lamp"))
        .await
        .is(400, json!({ "sku": ["The code 8712 names another product."] }));
    app.put("/api/products/by-sku/caf%C3%A9/", &fields("Lamp"))
        .await
        .is(400, json!({ "sku": ["Use printable ASCII characters only."] }));
    app.put(LAMP, &json!({ "title": "Lamp", "price": 1, "category_id": 9 }))
        .await
        .is(
            400,
            json!({ "category_id": ["Invalid pk \"9\" - object does not exist."] }),
        );
    assert_eq!(app.get(LIST).await.body["count"], 1);
}

#[tokio::test]
async fn put_by_sku_honours_preconditions() {
    let app = shop().await;
    let missing = put(&app, LAMP, ("if-match", "*"), &json!({})).await;
    missing.is(
        412,
        json!({ "detail": "There is no such record, and If-Match requires one." }),
    );
    let created = put(&app, LAMP, ("if-none-match", "*"), &fields("Lamp")).await;
    assert_eq!(created.status, 201);
    put(&app, LAMP, ("if-none-match", "*"), &fields("Other"))
        .await
        .is(
            412,
            json!({ "detail": "The record exists, and If-None-Match excludes it." }),
        );
    let tag = created.headers["etag"].to_str().unwrap();
    let changed = put(&app, LAMP, ("if-match", tag), &fields("Lamp 2")).await;
    assert_eq!(
        (changed.status.as_u16(), &changed.body["title"]),
        (200, &json!("Lamp 2"))
    );
    assert_eq!(
        put(&app, LAMP, ("if-match", tag), &fields("Lamp 3")).await.status,
        412
    );
    assert_eq!(app.get("/api/products/1/").await.body["title"], "Lamp 2");
}

#[tokio::test]
async fn bulk_creates_and_changes_products_with_a_result_for_each() {
    let app = shop().await;
    assert_eq!(app.put(LAMP, &fields("Lamp")).await.status, 201);
    let products = json!([
        { "sku": "LAMP/1", "price": "11.00" },
        { "sku": "DESK", "title": "Desk", "price": 75, "category_id": 1, "unit": "pc", "barcodes": [{ "code": "8712", "pack": 2 }] },
        { "sku": "RUG", "price": 5 },
        { "sku": "SOFA", "title": "Sofa", "price": 5, "category_id": 9 },
    ]);
    let failed = json!([
        { "index": 2, "sku": "RUG", "status": "failed",
          "errors": { "title": ["This field is required."], "category_id": ["This field is required."] } },
        { "index": 3, "sku": "SOFA", "status": "failed",
          "errors": { "category_id": ["Invalid pk \"9\" - object does not exist."] } },
    ]);
    let refused = bulk(&app, "all_or_nothing", products.clone()).await;
    refused.is(
        409,
        json!({ "results": [
            { "index": 0, "sku": "LAMP/1", "status": "skipped" }, { "index": 1, "sku": "DESK", "status": "skipped" },
            failed[0], failed[1],
        ], "created": 0, "updated": 0, "unchanged": 0, "failed": 2 }),
    );
    assert_eq!(app.get(LIST).await.column("price"), ["10.00"]);

    let done = bulk(&app, "per_item", products.clone()).await;
    let desk = done.body["results"][1]["id"].clone();
    done.is(
        200,
        json!({ "results": [
            { "index": 0, "sku": "LAMP/1", "status": "updated", "id": 1 }, { "index": 1, "sku": "DESK", "status": "created", "id": desk },
            failed[0], failed[1],
        ], "created": 1, "updated": 1, "unchanged": 0, "failed": 2 }),
    );
    assert_eq!(app.get(LIST).await.column("price"), ["75.00", "11.00"]);
    let again = bulk(&app, "per_item", products).await.body;
    assert_eq!((&again["unchanged"], &again["updated"]), (&json!(2), &json!(0)));
    let audited: Vec<(String, String)> = sqlx::query_as("select action, subject from audit_log order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    let audited: Vec<_> = audited
        .iter()
        .map(|(action, subject)| format!("{action} {subject}"))
        .collect();
    let desk = format!("product.created product:{desk}");
    assert_eq!(audited[2..], ["product.changed product:1".to_owned(), desk]);
}

#[tokio::test]
async fn bulk_refuses_what_is_wrong_in_itself_by_field() {
    let app = shop().await;
    for (products, errors) in [
        (
            json!([]),
            json!({ "products": ["At least one item is required"] }),
        ),
        (
            json!([{}]),
            json!({ "products": [{ "sku": ["This field is required."] }] }),
        ),
        (
            json!([{ "sku": null }]),
            json!({ "products": [{ "sku": ["This field is required."] }] }),
        ),
        (
            json!([{ "sku": "a", "price": 0 }, { "sku": "b" }]),
            json!({ "products": [{ "price": ["Ensure this value is greater than or equal to 0.01."] }, {}] }),
        ),
        (
            json!([{ "sku": "a", "barcodes": [{ "code": "b" }] }, { "sku": "b" }]),
            json!({ "products": ["Each code may appear once."] }),
        ),
    ] {
        bulk(&app, "per_item", products).await.is(400, errors);
    }
    let many: Vec<Value> = (0..1001)
        .map(|number| json!({ "sku": number.to_string() }))
        .collect();
    bulk(&app, "per_item", json!(many)).await.is(
        400,
        json!({ "products": ["Ensure this field has no more than 1000 elements."] }),
    );
    assert_eq!(app.get(LIST).await.body["count"], 0);
}

#[tokio::test]
async fn concurrent_bulk_requests_create_each_sku_once() {
    let app = Arc::new(shop().await);
    let mut requests = JoinSet::new();
    for number in 0..8 {
        let app = app.clone();
        requests.spawn(async move {
            let mut skus: Vec<u32> = (0..40).collect();
            // Both directions, so that locks in the sequence of the items would deadlock.
            if number % 2 == 0 {
                skus.reverse();
            }
            let products = skus.iter().map(|sku| {
                json!({ "sku": format!("S-{sku}"), "title": format!("Lamp {number}"), "price": 1, "category_id": 1 })
            });
            let answer = bulk(&app, "per_item", products.collect()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let count = |status: &str| answer.body[status].as_u64().unwrap();
            assert_eq!(count("created") + count("updated"), 40, "{}", answer.text);
            count("created")
        });
    }
    assert_eq!(requests.join_all().await.iter().sum::<u64>(), 40);
    let products = app.get(&format!("{LIST}?page=last")).await.body;
    assert_eq!(products["count"], 40);
    let codes: i64 = sqlx::query_scalar("select count(*) from product_code")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(codes, 40);
}

#[tokio::test]
async fn list_by_sku_has_active_and_inactive_products_on_one_page() {
    let app = shop().await;
    let products: Vec<Value> = (0..30)
        .map(|number| json!({ "sku": format!("S{number}"), "title": format!("Lamp {number:02}"), "price": 1, "category_id": 1, "is_active": number != 0 }))
        .collect();
    assert_eq!(bulk(&app, "per_item", json!(products)).await.body["created"], 30);
    let query: Vec<String> = (0..25).map(|number| format!("sku=S{number}")).collect();
    let listed = app.get(&format!("{LIST}?{}&sku=none", query.join("&"))).await;
    assert_eq!(listed.column("sku").len(), 25);
    assert_eq!(listed.column("sku")[..2], ["S0", "S1"]);
    assert_eq!(
        (&listed.body["count"], &listed.body["next"]),
        (&json!(25), &Value::Null)
    );
    app.get(&format!("{LIST}?sku=s1")).await.is(
        200,
        json!({ "count": 0, "next": null, "previous": null, "results": [] }),
    );
    app.get(&format!("{LIST}?sku="))
        .await
        .is(400, json!({ "sku": ["This field may not be blank."] }));
    let query: Vec<String> = (0..101).map(|number| format!("sku=S{number}")).collect();
    app.get(&format!("{LIST}?{}", query.join("&")))
        .await
        .is(400, json!({ "sku": ["Send at most 100 of them."] }));
}

#[tokio::test]
async fn search_finds_skus_first_and_pages_through_all() {
    let app = shop().await;
    let mut products = vec![
        json!({ "sku": "MAT-10", "title": "Yoga", "price": 1, "category_id": 1 }),
        json!({ "sku": "mat-1", "title": "Zebra", "price": 1, "category_id": 1 }),
        json!({ "sku": "MAT-11", "title": "Exercise mat-1", "price": 9, "category_id": 1 }),
        json!({ "sku": "MAT-12", "title": "Hidden", "price": 1, "category_id": 1, "is_active": false }),
        json!({ "sku": "XMAT-1", "title": "Neither", "price": 1, "category_id": 1 }),
    ];
    for number in 0..40 {
        products.push(json!({ "sku": format!("O{number}"), "title": format!("Mat-1 {number:02}"), "price": 1, "category_id": 1 }));
    }
    assert_eq!(bulk(&app, "per_item", json!(products)).await.body["created"], 45);
    let path = "/api/products/search/?q=Mat-1";
    let first = app.get(path).await;
    assert_eq!(first.body["count"], 43);
    assert_eq!(
        first.column("title")[..4],
        ["Zebra", "Exercise mat-1", "Yoga", "Mat-1 00"]
    );
    assert_eq!(first.column("sku")[..3], ["mat-1", "MAT-11", "MAT-10"]);
    let pages = [1, 2, 3].map(|page| format!("{path}&page={page}"));
    let mut by_page = Vec::new();
    for page in pages {
        by_page.extend(app.get(&page).await.column("id"));
    }
    let by_cursor = column(&walk(&app, path).await, "id");
    assert_eq!(by_page.len(), 43);
    assert_eq!(by_page, by_cursor);
    // Filters hold for products that are found by their SKU, too.
    let cheap = app.get(&format!("{path}&max_price=5")).await;
    assert_eq!(cheap.column("title")[..2], ["Zebra", "Yoga"]);
    assert_eq!(
        app.get("/api/products/search/?q=mat-1&store_id=1").await.body["count"],
        0
    );
}
