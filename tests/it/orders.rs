//! `POST /api/orders/`: confirmed orders and their representation.

mod batch;
mod gathered;
mod lost_commit;
mod refused;
mod rejected;

use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, order};

#[tokio::test]
async fn order_with_enough_stock_is_confirmed_and_takes_it() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 5).await;
    let placed = app.order(store, &[(product, 2)]).await;
    assert_eq!(placed.status, 201);
    assert_eq!(placed.body["total_amount"], json!("20.00"));
    assert_eq!(app.quantity(stock).await, 3);
    let row = app.get(&format!("/api/inventory/{stock}/")).await.body;
    assert_eq!(
        (&row["is_low_stock"], &row["is_out_of_stock"]),
        (&json!(true), &json!(false))
    );
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn order_may_take_the_last_unit_and_the_next_is_rejected() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 2).await;
    assert_eq!(app.order(store, &[(product, 2)]).await.status, 201);
    let rejected = app.order(store, &[(product, 1)]).await;
    assert_eq!(rejected.status, 200);
    assert_eq!(
        rejected.body["rejection_reason"],
        "Insufficient stock: Lamp: requested 1, available 0"
    );
    assert_eq!(app.quantity(stock).await, 0);
}

#[tokio::test]
async fn confirmed_order_has_the_exact_response_body() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = shop(&app).await;
    let placed = app.order(store, &[(chair, 1), (lamp, 2)]).await;
    let (id, items, at) = made(&placed);
    placed.is_text(
        201,
        &format!(
            r#"{{"id":{id},"store":{{"id":{store},"name":"Main Store","location":"Main Street 1"}},"status":"CONFIRMED","total_amount":"95.00","rejection_reason":"","items":[{{"id":{},"product":{{"id":{chair},"title":"Chair \"Zoë\"","price":"75.00"}},"quantity":1,"unit_price":"75.00","subtotal":"75.00","title_at_order":"Chair \"Zoë\""}},{{"id":{},"product":{{"id":{lamp},"title":"Lamp","price":"10.00"}},"quantity":2,"unit_price":"10.00","subtotal":"20.00","title_at_order":"Lamp"}}],"created_at":"{at}"}}"#,
            items[0], items[1]
        ),
    );
    assert_eq!(placed.header("content-type"), "application/json");
    assert_eq!(placed.header("allow"), "GET, POST, HEAD, OPTIONS");
    assert_eq!(placed.header("location"), "");
}

#[tokio::test]
async fn detail_of_a_confirmed_order_extends_its_response() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = shop(&app).await;
    let placed = app.order(store, &[(chair, 1), (lamp, 2)]).await;
    let mut expected = placed.body.clone();
    for (field, value) in [
        ("item_count", json!(2)),
        ("is_confirmed", json!(true)),
        ("is_rejected", json!(false)),
        ("updated_at", placed.body["created_at"].clone()),
        ("version", json!(1)),
        ("fulfillment", json!("NOT_TRACKED")),
        ("returned", json!("NONE")),
        ("refunded_amount", json!("0.00")),
    ] {
        expected[field] = value;
    }
    let detail = app.get(&format!("/api/orders/{}/", placed.created())).await;
    detail.is(200, expected);
    let fields = [
        "\"id\"",
        "\"store\"",
        "\"status\"",
        "\"total_amount\"",
        "\"rejection_reason\"",
        "\"items\"",
        "\"item_count\"",
        "\"is_confirmed\"",
        "\"is_rejected\"",
        "\"created_at\"",
        "\"updated_at\"",
    ];
    assert!(
        fields.map(|field| detail.text.find(field).unwrap()).is_sorted(),
        "{}",
        detail.text
    );
}

#[tokio::test]
async fn items_keep_the_requested_order() {
    let app = TestApp::start().await;
    let (store, category) = (app.store("Main Store").await, app.category("All").await);
    let mut products = Vec::new();
    for number in 0..12 {
        let product = app.product_in(category, &format!("P{number}"), "1.00").await;
        app.stock(store, product, 100).await;
        products.push(product);
    }
    products.reverse();
    products.swap(2, 7);
    let items: Vec<(i64, i64)> = products.iter().copied().zip(1..).collect();
    let placed = app.order(store, &items).await;
    let detail = app.get(&format!("/api/orders/{}/", placed.created())).await;
    for body in [&placed.body, &detail.body] {
        let answered: Vec<(i64, i64)> = list(&body["items"])
            .iter()
            .map(|item| {
                (
                    item["product"]["id"].as_i64().unwrap(),
                    item["quantity"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(answered, items);
    }
}

#[tokio::test]
async fn order_keeps_its_price_while_the_product_shows_the_current_one() {
    let app = TestApp::start().await;
    let (store, lamp, _) = shop(&app).await;
    let placed = app.order(store, &[(lamp, 3)]).await.created();
    let changed = json!({ "price": "99.99", "title": "Lamp II" });
    assert_eq!(
        app.patch(&format!("/api/products/{lamp}/"), &changed)
            .await
            .status,
        200
    );
    let detail = app.get(&format!("/api/orders/{placed}/")).await.body;
    let item = &detail["items"][0];
    assert_eq!(
        item["product"],
        json!({ "id": lamp, "title": "Lamp II", "price": "99.99" })
    );
    assert_eq!(
        (&item["unit_price"], &item["subtotal"], &detail["total_amount"]),
        (&json!("10.00"), &json!("30.00"), &json!("30.00"))
    );
    let next = app.order(store, &[(lamp, 1)]).await.body;
    assert_eq!(next["items"][0]["unit_price"], "99.99");
}

#[tokio::test]
async fn numbers_are_accepted_in_common_spellings() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = shop(&app).await;
    let body = format!(
        r#"{{"store_id": "{store}", "id": 7, "status": "REJECTED", "items": [
            {{"product_id": "{lamp}", "quantity": 1e0, "unit_price": "0.01"}}, {{"product_id": {chair}.0, "quantity": " 2 "}}]}}"#
    );
    let placed = app.post_text("/api/orders", body).await;
    assert_eq!(
        (placed.status.as_u16(), &placed.body["total_amount"]),
        (201, &json!("160.00"))
    );
}

#[tokio::test]
async fn order_may_have_100_items_and_not_101() {
    let app = TestApp::start().await;
    let (store, category) = (app.store("Main Store").await, app.category("All").await);
    let (first, last): (i64, i64) = sqlx::query_as(
        "with made as (
             insert into product (title, price, category_id) select 'P' || n, 0.01, $1 from generate_series(1, 101) n returning id
         ), stocked as (
             insert into inventory (store_id, product_id, quantity) select $2, id, 1 from made returning id, quantity
         ), booked as (
             insert into stock_movement (inventory_id, kind, delta, quantity_after) select id, 'INITIAL', 1, 1 from stocked
         )
         select min(id), max(id) from made",
    )
    .bind(category)
    .bind(store)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let items: Vec<(i64, i64)> = (first..=last).map(|product| (product, 1)).collect();
    app.order(store, &items).await.is(
        400,
        json!({ "items": ["Ensure this field has no more than 100 elements."] }),
    );
    let placed = app.order(store, &items[..100]).await;
    assert_eq!(placed.body["total_amount"], "1.00", "{}", placed.text);
    assert_eq!(list(&placed.body["items"]).len(), 100);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn total_above_12_digits_is_rejected_with_400_and_takes_nothing() {
    let app = TestApp::start().await;
    let store = app.store("Main Store").await;
    let (dear, penny) = (
        app.product("Yacht", "99999999.99").await,
        app.product("Screw", "0.01").await,
    );
    let (yachts, screws) = (
        app.stock(store, dear, 1000).await,
        app.stock(store, penny, 1000).await,
    );
    // 100 x 99,999,999.99 + 100 x 0.01 is one cent more than 9,999,999,999.99.
    app.order(store, &[(dear, 100), (penny, 100)]).await.is(
        400,
        json!({ "items": ["Ensure that the order total has no more than 12 digits."] }),
    );
    assert_eq!(
        (app.quantity(yachts).await, app.quantity(screws).await),
        (1000, 1000)
    );
    assert_eq!(orders(&app).await, 0);
    let placed = app.order(store, &[(dear, 100), (penny, 99)]).await;
    assert_eq!(
        (placed.status.as_u16(), &placed.body["total_amount"]),
        (201, &json!("9999999999.99"))
    );
    assert!(app.unbalanced().await.is_empty());
}

/// A store with five lamps and two chairs.
async fn shop(app: &TestApp) -> (i64, i64, i64) {
    let store = app.store("Main Store").await;
    let (lamp, chair) = (
        app.product("Lamp", "10.00").await,
        app.product("Chair \"Zoë\"", "75.00").await,
    );
    app.stock(store, lamp, 5).await;
    app.stock(store, chair, 2).await;
    (store, lamp, chair)
}

/// The unpredictable fields of an order: its id, its items' ids, and its time.
fn made(placed: &Answer) -> (i64, Vec<i64>, String) {
    let at = placed.body["created_at"].as_str().unwrap().to_owned();
    assert!(at.ends_with('Z') && (at.len() == 27 || at.len() == 20), "{at}");
    let items = list(&placed.body["items"])
        .iter()
        .map(|item| item["id"].as_i64().unwrap());
    (placed.body["id"].as_i64().unwrap(), items.collect(), at)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// How many orders there are, decided either way.
async fn orders(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn one_of_two_concurrent_orders_for_the_last_units_is_confirmed() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 10).await;
    let body = order(store, &[(product, 7)]);
    let (one, other) = tokio::join!(app.post("/api/orders/", &body), app.post("/api/orders/", &body));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!(app.quantity(stock).await, 3);
    assert!(app.unbalanced().await.is_empty());
}
