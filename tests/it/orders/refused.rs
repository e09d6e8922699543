//! Invalid orders: each response lists every error, and no order is stored.

use super::{orders, shop};
use crate::support::app::TestApp;

/// Bodies and the expected errors.
const REFUSALS: &[(&str, &str)] = &[
    // Both fields, in their order.
    (
        "{}",
        r#"{"store_id":["This field is required."],"items":["This field is required."]}"#,
    ),
    (
        "",
        r#"{"store_id":["This field is required."],"items":["This field is required."]}"#,
    ),
    (
        r#"{"items":null,"store_id":null}"#,
        r#"{"store_id":["This field may not be null."],"items":["This field may not be null."]}"#,
    ),
    // The store.
    (
        r#"{"store_id":0,"items":[{"product_id":1,"quantity":1}]}"#,
        r#"{"store_id":["Ensure this value is greater than or equal to 1."]}"#,
    ),
    (
        r#"{"store_id":-3,"items":[{"product_id":1,"quantity":1}]}"#,
        r#"{"store_id":["Ensure this value is greater than or equal to 1."]}"#,
    ),
    (
        r#"{"store_id":"x","items":[{"product_id":1,"quantity":1}]}"#,
        r#"{"store_id":["A valid integer is required."]}"#,
    ),
    (
        r#"{"store_id":1.5,"items":[{"product_id":1,"quantity":1}]}"#,
        r#"{"store_id":["A valid integer is required."]}"#,
    ),
    (
        r#"{"store_id":true,"items":[{"product_id":1,"quantity":1}]}"#,
        r#"{"store_id":["A valid integer is required."]}"#,
    ),
    // The list of items.
    (
        r#"{"store_id":1,"items":[]}"#,
        r#"{"items":["At least one item is required"]}"#,
    ),
    (
        r#"{"store_id":1,"items":{}}"#,
        r#"{"items":{"non_field_errors":["Expected a list of items but got type \"dict\"."]}}"#,
    ),
    (
        r#"{"store_id":1,"items":"5"}"#,
        r#"{"items":{"non_field_errors":["Expected a list of items but got type \"str\"."]}}"#,
    ),
    (
        r#"{"store_id":1,"items":5}"#,
        r#"{"items":{"non_field_errors":["Expected a list of items but got type \"int\"."]}}"#,
    ),
    // The items: valid ones have no errors.
    (
        r#"{"store_id":1,"items":[{"product_id":1,"quantity":1},{"product_id":2,"quantity":0}]}"#,
        r#"{"items":[{},{"quantity":["Ensure this value is greater than or equal to 1."]}]}"#,
    ),
    (
        r#"{"store_id":1,"items":[{"product_id":1,"quantity":1},5,null,"x",[],1.5,true]}"#,
        r#"{"items":[{},{"non_field_errors":["Invalid data. Expected a dictionary, but got int."]},["This field may not be null."],{"non_field_errors":["Invalid data. Expected a dictionary, but got str."]},{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]},{"non_field_errors":["Invalid data. Expected a dictionary, but got float."]},{"non_field_errors":["Invalid data. Expected a dictionary, but got bool."]}]}"#,
    ),
    (
        r#"{"store_id":1,"items":[{},{"product_id":null,"quantity":null},{"quantity":"","product_id":"a"}]}"#,
        r#"{"items":[{"product_id":["This field is required."],"quantity":["This field is required."]},{"product_id":["This field may not be null."],"quantity":["This field may not be null."]},{"product_id":["A valid integer is required."],"quantity":["A valid integer is required."]}]}"#,
    ),
    (
        r#"{"store_id":1,"items":[{"product_id":0,"quantity":-1},{"product_id":false,"quantity":1.5}]}"#,
        r#"{"items":[{"product_id":["Ensure this value is greater than or equal to 1."],"quantity":["Ensure this value is greater than or equal to 1."]},{"product_id":["A valid integer is required."],"quantity":["A valid integer is required."]}]}"#,
    ),
    // One product twice, in any notation; errors of an item come first.
    (
        r#"{"store_id":1,"items":[{"product_id":3,"quantity":1},{"product_id":3,"quantity":2}]}"#,
        r#"{"items":["Duplicate products in order items"]}"#,
    ),
    (
        r#"{"store_id":1,"items":[{"product_id":"03","quantity":1},{"product_id":3.0,"quantity":2}]}"#,
        r#"{"items":["Duplicate products in order items"]}"#,
    ),
    (
        r#"{"store_id":1,"items":[{"product_id":3,"quantity":0},{"product_id":3,"quantity":2}]}"#,
        r#"{"items":[{"quantity":["Ensure this value is greater than or equal to 1."]},{}]}"#,
    ),
    // Store and items together; field errors come before the check of the store.
    (
        r#"{"store_id":"","items":[]}"#,
        r#"{"store_id":["A valid integer is required."],"items":["At least one item is required"]}"#,
    ),
    (
        r#"{"store_id":4711,"items":[]}"#,
        r#"{"items":["At least one item is required"]}"#,
    ),
    // The body as a whole.
    (
        "[]",
        r#"{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}"#,
    ),
    ("null", r#"{"non_field_errors":["No data provided"]}"#),
];

#[tokio::test]
async fn invalid_order_is_rejected_with_400_naming_each_field() {
    let app = TestApp::start().await;
    let (_, lamp, _) = shop(&app).await;
    for (body, expected) in REFUSALS {
        let answer = app.post_text("/api/orders/", *body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (400, *expected),
            "{body}"
        );
    }
    let malformed = app.post_text("/api/orders/", r#"{"store_id":1,"items":[}"#).await;
    assert_eq!(malformed.status, 400);
    assert!(
        malformed.body["detail"]
            .as_str()
            .unwrap()
            .starts_with("JSON parse error - ")
    );
    assert_eq!(orders(&app).await, 0);
    let stock: i64 = sqlx::query_scalar("select quantity::bigint from inventory where product_id = $1")
        .bind(lamp)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(stock, 5);
}
