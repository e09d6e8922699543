//! Transfers that are refused, and what they forbid.

use serde_json::{Value, json};

use super::{act, done, draft, everything, got, item, quantities, shipped, shop};

#[tokio::test]
async fn more_than_is_in_transit_is_refused_with_what_is() {
    let app = shop().await;
    shipped(&app).await;
    done(&app, "receive", json!({ "items": [got(1, [4, 0, 0])] })).await;
    let over = json!({ "items": [got(1, [1, 1, 1]), got(2, [1, 0, 0])] });
    act(&app, "receive", over).await.is(
        409,
        json!({
            "detail": "Fewer units are in transit. Enter the surplus as an adjustment.", "code": "over_receipt",
            "items": [{ "product_id": 1, "left": 2 }, { "product_id": 2, "left": 4 }],
        }),
    );
    assert_eq!(everything(&app).await, 30);
}

#[tokio::test]
async fn a_shipment_needs_units_that_are_available() {
    let app = shop().await;
    draft(&app).await;
    let reserved = json!({ "store_id": 1, "items": [item(1, 15)] });
    app.post("/api/reservations/", &reserved).await.created();
    act(&app, "ship", json!({})).await.is(
        409,
        json!({
            "detail": "The quantity would fall below the reserved units.", "code": "reserved", "quantity": 20, "reserved": 15,
            "inventory_id": 1,
        }),
    );
    let released = app.post("/api/reservations/1/release/", &json!({})).await;
    assert_eq!(released.status, 200, "{}", released.text);
    act(&app, "ship", json!({ "items": [item(1, 7)] })).await.is(
        409,
        json!({ "detail": "The transfer has fewer units.", "code": "exceeds_quantity", "items": [{ "product_id": 1, "left": 6 }] }),
    );
    let too_few =
        json!({ "detail": "There are fewer units in stock.", "code": "insufficient_stock", "quantity": 0 });
    let back = json!({ "from_store_id": 2, "to_store_id": 1, "items": [item(1, 1)] });
    let id = app.post("/api/transfers/", &back).await.created();
    let ship = app.post(&format!("/api/transfers/{id}/ship/"), &json!({})).await;
    ship.is(409, too_few.clone());
    let mut at_once = back;
    at_once["immediate"] = json!(true);
    app.post("/api/transfers/", &at_once).await.is(409, too_few);
    assert_eq!(quantities(&app).await, [(1, 1, 20), (1, 2, 10)]);
}

/// A new transfer with other members.
fn new(changes: Value) -> Value {
    let mut body = json!({ "from_store_id": 1, "to_store_id": 2, "items": [item(1, 1)] });
    if let Value::Object(changes) = changes {
        body.as_object_mut().unwrap().extend(changes);
    }
    body
}

#[tokio::test]
async fn a_wrong_transfer_names_the_field() {
    let app = shop().await;
    let required = "This field is required.";
    let no_store = "Invalid pk \"9\" - object does not exist.";
    for (body, errors) in [
        (
            json!({}),
            json!({ "from_store_id": [required], "to_store_id": [required], "items": [required] }),
        ),
        (
            new(json!({ "to_store_id": 1 })),
            json!({ "to_store_id": ["Must be another store than from_store_id."] }),
        ),
        (
            new(json!({ "to_store_id": 9 })),
            json!({ "to_store_id": [no_store] }),
        ),
        (
            new(json!({ "from_store_id": 9 })),
            json!({ "from_store_id": [no_store] }),
        ),
        (
            new(json!({ "items": [] })),
            json!({ "items": ["At least one item is required"] }),
        ),
        (
            new(json!({ "items": vec![item(1, 1); 101] })),
            json!({ "items": ["Ensure this field has no more than 100 elements."] }),
        ),
        (
            new(json!({ "items": [item(1, 1), item(1, 2)] })),
            json!({ "items": ["Each product may appear once."] }),
        ),
        (
            new(json!({ "items": [item(1, 1), item(9, 1)] })),
            json!({ "items": [{}, { "product_id": [no_store] }] }),
        ),
        (
            new(json!({ "items": [{ "sku": "NO", "quantity": 1 }] })),
            json!({ "items": [{ "sku": ["No product has this SKU."] }] }),
        ),
        (
            new(json!({ "items": [{ "quantity": 0 }] })),
            json!({ "items": [{ "product_id": [required], "quantity": ["Ensure this value is greater than or equal to 1."] }] }),
        ),
        (
            new(json!({ "expected_at": "tomorrow", "immediate": "perhaps" })),
            json!({ "expected_at": ["Send a time such as 2024-01-15T10:30:00Z."], "immediate": ["Must be a valid boolean."] }),
        ),
    ] {
        app.post("/api/transfers/", &body).await.is(400, errors);
    }
}

#[tokio::test]
async fn a_wrong_receipt_or_cancellation_names_the_field() {
    let app = shop().await;
    shipped(&app).await;
    let in_transit = "6 units of product 1 are in transit: returned and lost must add up to them.";
    for (action, body, errors) in [
        (
            "receive",
            json!({}),
            json!({ "items": ["This field is required, except with close."] }),
        ),
        (
            "receive",
            json!({ "items": [{ "product_id": 1 }] }),
            json!({ "items": [{ "received": ["Send at least one unit received, damaged or missing."] }] }),
        ),
        (
            "receive",
            json!({ "items": [got(9, [1, 0, 0])] }),
            json!({ "items": ["The transfer has no product \"9\"."] }),
        ),
        ("cancel", json!({}), json!({ "items": [in_transit] })),
        (
            "cancel",
            json!({ "items": [{ "product_id": 1, "returned": 5 }, { "product_id": 2, "returned": 4 }] }),
            json!({ "items": [in_transit] }),
        ),
        (
            "cancel",
            json!({ "items": [{ "product_id": 1, "lost": 0 }] }),
            json!({ "items": [{ "returned": ["Send at least one unit returned or lost."] }] }),
        ),
    ] {
        act(&app, action, body).await.is(400, errors);
    }
    for path in ["/api/transfers/99/", "/api/transfers/x/"] {
        assert_eq!(app.get(path).await.status, 404);
    }
    let cursor = app.get("/api/transfers/?cursor=x&status=").await;
    cursor.is(400, json!({ "cursor": ["Invalid cursor."] }));
    assert_eq!(app.get("/api/transfers/?status=GONE").await.status, 400);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn what_a_transfer_refers_to_cannot_be_deleted() {
    let app = shop().await;
    shipped(&app).await;
    let store = "Cannot delete this store: stock documents refer to it.";
    for (path, detail) in [
        ("/api/stores/1/", store),
        ("/api/stores/2/", store),
        (
            "/api/products/1/",
            "Cannot delete this product: stock documents refer to it.",
        ),
        (
            "/api/categories/1/",
            "Cannot delete this category: stock documents refer to its products.",
        ),
    ] {
        app.delete(path).await.is(409, json!({ "detail": detail }));
    }
    app.delete("/api/inventory/1/").await.is(
        409,
        json!({ "detail": "Units are in transit from or to this stock.", "code": "in_use" }),
    );
    app.patch("/api/inventory/1/", &json!({ "store_id": 2 })).await.is(
        409,
        json!({ "detail": "Cannot move this stock to another store or product: transfers or stock counts refer to it.", "code": "in_use" }),
    );
    let settled = json!({ "items": [{ "product_id": 1, "lost": 6 }, { "product_id": 2, "lost": 4 }] });
    done(&app, "cancel", settled).await;
    assert_eq!(app.delete("/api/inventory/1/").await.status, 204);
    assert_eq!(app.unbalanced().await, []);
}
