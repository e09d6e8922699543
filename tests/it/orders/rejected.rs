//! Rejections: stored like any order, with one of three reasons, and no stock is taken.

use serde_json::{Value, json};

use super::{list, made, orders, shop};
use crate::support::app::{Answer, TestApp};

#[tokio::test]
async fn rejected_order_takes_no_stock_of_any_item() {
    let app = TestApp::start().await;
    let store = app.store("Main Store").await;
    let (lamp, chair) = (
        app.product("Lamp", "10.00").await,
        app.product("Chair", "75.00").await,
    );
    let (lamps, chairs) = (app.stock(store, lamp, 5).await, app.stock(store, chair, 2).await);
    let rejected = app.order(store, &[(lamp, 5), (chair, 3)]).await;
    assert_eq!(
        (rejected.status.as_u16(), &rejected.body["status"]),
        (200, &json!("REJECTED"))
    );
    assert_eq!((app.quantity(lamps).await, app.quantity(chairs).await), (5, 2));
    let (items, movements, owed): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from order_item), (select count(*) from stock_movement where kind = 'ORDER'),
             (select count(*) from outbox)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((items, movements, owed), (0, 0, 0));
}

#[tokio::test]
async fn rejected_order_has_the_exact_response_body_and_detail() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = shop(&app).await;
    let rejected = app.order(store, &[(lamp, 10), (chair, 3)]).await;
    let (id, _, at) = made(&rejected);
    let rejections = format!(
        r#""rejections":[{{"product_id":{lamp},"code":"insufficient_stock","requested":10,"available":5}},{{"product_id":{chair},"code":"insufficient_stock","requested":3,"available":2}}]"#
    );
    let reason =
        r#"Insufficient stock: Lamp: requested 10, available 5; Chair \"Zoë\": requested 3, available 2"#;
    let store = format!(r#"{{"id":{store},"name":"Main Store","location":"Main Street 1"}}"#);
    rejected.is_text(
        200,
        &format!(
            r#"{{"id":{id},"store":{store},"status":"REJECTED","total_amount":"0.00","rejection_reason":"{reason}","items":[],"created_at":"{at}",{rejections}}}"#
        ),
    );
    app.get(&format!("/api/orders/{id}/")).await.is_text(
        200,
        &format!(
            r#"{{"id":{id},"store":{store},"status":"REJECTED","total_amount":"0.00","rejection_reason":"{reason}","items":[],"item_count":0,"is_confirmed":false,"is_rejected":true,"created_at":"{at}","updated_at":"{at}","version":1,"fulfillment":"NOT_TRACKED","returned":"NONE","refunded_amount":"0.00",{rejections}}}"#
        ),
    );
}

#[tokio::test]
async fn first_applicable_reason_lists_all_items_it_applies_to() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = shop(&app).await;
    let inactive = app.product("Old", "1.00").await;
    app.stock(store, inactive, 100).await;
    app.patch(
        &format!("/api/products/{inactive}/"),
        &json!({ "is_active": false }),
    )
    .await;
    let (elsewhere, nowhere) = (
        app.product("Elsewhere", "1.00").await,
        app.product("Nowhere", "1.00").await,
    );
    let other = app.store("Other Store").await;
    app.stock(other, elsewhere, 100).await;

    // Unknown and inactive products come first, in ascending order.
    let items = [
        (lamp, 10),
        (5_000_000, 1),
        (nowhere, 1),
        (999_999, 2),
        (inactive, 1),
    ];
    let rejected = app.order(store, &items).await;
    is_rejected(
        &rejected,
        &format!("Products not found or inactive: {{{inactive}, 999999, 5000000}}"),
        &json!([
            { "product_id": 5_000_000, "code": "product_not_found", "requested": 1, "available": 0 },
            { "product_id": 999_999, "code": "product_not_found", "requested": 2, "available": 0 },
            { "product_id": inactive, "code": "product_not_found", "requested": 1, "available": 0 },
        ]),
    );
    // Then products that the store does not stock.
    let rejected = app
        .order(store, &[(nowhere, 1), (lamp, 10), (elsewhere, 3), (chair, 1)])
        .await;
    is_rejected(
        &rejected,
        &format!("Products not available in store: {{{elsewhere}, {nowhere}}}"),
        &json!([
            { "product_id": nowhere, "code": "not_in_store", "requested": 1, "available": 0 },
            { "product_id": elsewhere, "code": "not_in_store", "requested": 3, "available": 0 },
        ]),
    );
    // Then products with too little stock, in the order of the items.
    let rejected = app.order(store, &[(chair, 3), (lamp, 6)]).await;
    is_rejected(
        &rejected,
        "Insufficient stock: Chair \"Zoë\": requested 3, available 2; Lamp: requested 6, available 5",
        &json!([
            { "product_id": chair, "code": "insufficient_stock", "requested": 3, "available": 2 },
            { "product_id": lamp, "code": "insufficient_stock", "requested": 6, "available": 5 },
        ]),
    );
    // No other products are listed.
    let rejected = app.order(store, &[(chair, 2), (lamp, 6)]).await;
    assert_eq!(
        rejected.body["rejection_reason"],
        "Insufficient stock: Lamp: requested 6, available 5"
    );
    for rejected in app.get("/api/orders/?status=rejected").await.body["results"]
        .as_array()
        .unwrap()
    {
        let detail = app.get(&format!("/api/orders/{}/", rejected["id"])).await.body;
        assert_eq!(detail["is_rejected"], true);
        assert!(!list(&detail["rejections"]).is_empty());
    }
}

#[tokio::test]
async fn unknown_products_are_named_in_ascending_order() {
    let app = TestApp::start().await;
    let store = app.store("Main Store").await;
    let rejected = app.order(store, &[(9, 1), (5, 1)]).await;
    assert_eq!(
        rejected.body["rejection_reason"],
        "Products not found or inactive: {5, 9}"
    );
    let rejected = app.order(store, &[(10, 1), (9, 1), (100, 1)]).await;
    assert_eq!(
        rejected.body["rejection_reason"],
        "Products not found or inactive: {9, 10, 100}"
    );
}

#[tokio::test]
async fn numbers_beyond_64_bits_are_refused_by_field() {
    const HUGE: &str = "100000000000000000000000000000000000000000";
    let app = TestApp::start().await;
    let (store, lamp, _) = shop(&app).await;
    for quantity in [2_147_483_648, i64::MAX] {
        let rejected = app.order(store, &[(lamp, quantity)]).await;
        let reason = format!("Insufficient stock: Lamp: requested {quantity}, available 5");
        let rejections = json!([{ "product_id": lamp, "code": "insufficient_stock", "requested": quantity, "available": 5 }]);
        is_rejected(&rejected, &reason, &rejections);
    }
    let before = orders(&app).await;
    let beyond = json!(["Ensure this value is less than or equal to 9223372036854775807."]);
    for number in ["9223372036854775808", HUGE] {
        for (fields, errors) in [
            (
                format!(r#""store_id":{number},"items":[{{"product_id":{lamp},"quantity":1}}]"#),
                json!({ "store_id": beyond }),
            ),
            (
                format!(r#""store_id":{store},"items":[{{"product_id":{number},"quantity":{number}}}]"#),
                json!({ "items": [{ "product_id": beyond, "quantity": beyond }] }),
            ),
        ] {
            let answer = app.post_text("/api/orders/", format!("{{{fields}}}")).await;
            answer.is(400, errors);
        }
    }
    assert_eq!(orders(&app).await, before);
}

#[tokio::test]
async fn huge_numbers_of_older_rejections_are_still_read() {
    let app = TestApp::start().await;
    let (store, ..) = shop(&app).await;
    let id = app.order(store, &[(9, 1)]).await.body["id"].as_i64().unwrap();
    let huge = "9".repeat(40);
    let stored =
        format!(r#"[{{"product_id":{huge},"code":"product_not_found","requested":1,"available":0}}]"#);
    sqlx::query("update orders set rejections = $2::json where id = $1")
        .bind(id)
        .bind(stored)
        .execute(&app.pool)
        .await
        .unwrap();
    let detail = app.get(&format!("/api/orders/{id}/")).await;
    assert_eq!(detail.body["rejections"][0]["product_id"], i64::MAX);
}

#[tokio::test]
async fn order_of_an_unknown_or_inactive_store_gets_400_and_is_not_stored() {
    let app = TestApp::start().await;
    let (store, lamp, _) = shop(&app).await;
    let empty = app.store("Empty Store").await;
    for store in [store, empty] {
        app.patch(&format!("/api/stores/{store}/"), &json!({ "is_active": false }))
            .await;
    }
    for store in [store, empty, 4711, i64::MAX] {
        for product in [lamp, 9999] {
            app.order(store, &[(product, 1)]).await.is_text(
                400,
                &format!(r#"{{"error":"Validation Error","detail":"Store {store} not found or inactive"}}"#),
            );
        }
    }
    assert_eq!(orders(&app).await, 0);
    assert!(app.unbalanced().await.is_empty());
}

#[track_caller]
fn is_rejected(answer: &Answer, reason: &str, rejections: &Value) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.body["rejection_reason"], reason);
    assert_eq!(&answer.body["rejections"], rejections);
    assert_eq!(answer.body["items"], json!([]));
    assert_eq!(answer.body["total_amount"], "0.00");
}
