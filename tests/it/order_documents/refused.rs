//! Documents that are refused, and what committed units forbid.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use reqwest::Method;
use serde_json::json;
use sqlx::Executor;

use super::{document, item, lamps, sold};
use crate::{auth::guarded, support::app::send};

#[tokio::test]
async fn more_than_is_left_is_refused_with_what_is_left() {
    let app = sold("TRACKED").await;
    document(&app, "fulfillments", json!({ "items": [item(1, 4)] }))
        .await
        .created();
    let too_many = json!({ "items": [item(1, 3), item(2, 1)], "reason": "Late" });
    document(&app, "cancellations", too_many).await.is(
        409,
        json!({
            "detail": "Fewer units are left.", "code": "exceeds_quantity", "status": "CONFIRMED",
            "allowed": ["CANCELLATION", "FULFILLMENT", "RETURN"],
            "items": [{ "order_item_id": 1, "left": 2 }, { "order_item_id": 2, "left": 2 }],
        }),
    );
    let refused = document(
        &app,
        "returns",
        json!({ "items": [item(2, 1)], "reason": "Late" }),
    )
    .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["items"][0]["left"]),
        (409, &json!(0))
    );
    let refund = json!({ "items": [item(1, 1)], "reason": "Late", "refund_amount": "70.01" });
    document(&app, "cancellations", refund).await.is(
        409,
        json!({ "detail": "A smaller amount is left to refund.", "code": "exceeds_total", "refundable": "70.00" }),
    );
    let stale = json!({ "items": [item(1, 1)], "reason": "Late", "expected_version": 1 });
    document(&app, "cancellations", stale).await.is(
        409,
        json!({ "detail": "The version of the order is 2, not the expected one.", "code": "stale_version", "version": 2 }),
    );
    assert_eq!(lamps(&app).await, [4, 2, 6]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn wrong_requests_name_the_field() {
    let app = sold("IMMEDIATE").await;
    let both = json!({ "order_item_id": 1, "product_id": 1, "quantity": 1 });
    let twice = json!({ "items": [item(1, 1), { "product_id": 1, "quantity": 1 }], "reason": "Late" });
    let one_of = "Send one of order_item_id, product_id and sku.";
    for (kind, body, errors) in [
        (
            "cancellations",
            json!({}),
            json!({ "reason": ["This field is required."] }),
        ),
        (
            "cancellations",
            json!({ "items": [], "reason": "x" }),
            json!({ "items": ["At least one item is required"] }),
        ),
        (
            "cancellations",
            json!({ "items": [both], "reason": "x" }),
            json!({ "items": [{ "order_item_id": [one_of] }] }),
        ),
        (
            "cancellations",
            twice,
            json!({ "items": ["Each item of the order may appear once."] }),
        ),
        (
            "cancellations",
            json!({ "items": [item(9, 1)], "reason": "x" }),
            json!({ "items": ["The order has no item \"9\"."] }),
        ),
        (
            "cancellations",
            json!({ "items": [{ "order_item_id": 1, "quantity": 1, "refund_amount": 1 }], "refund_amount": 1, "reason": "x" }),
            json!({ "refund_amount": ["Send it here or in the items."] }),
        ),
        (
            "returns",
            json!({ "items": [{ "order_item_id": 1, "quantity": 1, "restock": 2 }], "reason": "x" }),
            json!({ "items": [{ "restock": ["Ensure this value is not greater than quantity."] }] }),
        ),
        (
            "returns",
            json!({ "reason": "x", "to_store_id": 9 }),
            json!({ "to_store_id": ["Invalid pk \"9\" - object does not exist."] }),
        ),
        (
            "returns",
            json!({ "items": [{ "sku": "NONE", "quantity": 1 }], "reason": "x" }),
            json!({ "items": [{ "sku": ["No product has this SKU."] }] }),
        ),
        (
            "fulfillments",
            json!({ "items": [{ "order_item_id": 1, "quantity": 1, "restock": 1 }] }),
            json!({ "items": ["Fulfilments have no restock and no refund_amount."] }),
        ),
    ] {
        document(&app, kind, body).await.is(400, errors);
    }
    document(&app, "fulfillments", json!({})).await.is(
        409,
        json!({
            "detail": "The store of the order does not track fulfilments.", "code": "invalid_transition",
            "status": "CONFIRMED", "allowed": ["CANCELLATION", "RETURN"],
        }),
    );
    let missing = app
        .post("/api/orders/9/returns/", &json!({ "reason": "x" }))
        .await;
    missing.is(404, json!({ "detail": "No Order matches the given query." }));
}

#[tokio::test]
async fn nothing_that_servers_of_the_last_release_do_not_know_happens_beside_them() {
    let app = sold("IMMEDIATE").await;
    app.pool
        .execute("delete from completed_upgrade where name = 'order_documents'")
        .await
        .unwrap();
    let refused = json!({
        "detail": "Servers of an earlier release may be running. Confirm with `afforo migrate --complete` that none is.",
        "code": "upgrade_in_progress",
    });
    document(&app, "cancellations", json!({ "reason": "Late" }))
        .await
        .is(409, refused.clone());
    app.patch("/api/stores/1/", &json!({ "fulfillment": "TRACKED" }))
        .await
        .is(409, refused);
    assert_eq!(
        app.patch("/api/stores/1/", &json!({ "fulfillment": "IMMEDIATE" }))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn stock_with_committed_units_is_not_deleted() {
    let app = sold("TRACKED").await;
    app.delete("/api/inventory/1/").await.is(
        409,
        json!({ "detail": "The stock has reserved or committed units.", "code": "in_use", "reserved": 0, "committed": 6 }),
    );
    document(&app, "fulfillments", json!({})).await.created();
    assert_eq!(app.delete("/api/inventory/1/").await.status, 204);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_return_to_another_store_needs_a_key_of_both() {
    let open = sold("IMMEDIATE").await;
    let other = open.store("Other").await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let back = json!({ "items": [item(1, 1)], "reason": "Too big", "to_store_id": other });
    for (stores, status) in [(vec![1], 403), (vec![other], 404), (vec![1, other], 201)] {
        let key = app
            .key(&[Scope::OrdersManage], Stores::Only(stores.into_iter().collect()))
            .await;
        let request = app.request(Method::POST, "/api/orders/1/returns/");
        let answer = send(request.header("x-api-key", key).json(&back)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 403 {
            let detail = format!("This needs access to store {other}.");
            answer.is(
                403,
                json!({ "detail": detail, "code": "store_required", "store_id": other }),
            );
        }
    }
    assert_eq!(open.unbalanced().await, []);
}
