//! Requests about reservations that are refused, and what reserved units forbid.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use serde_json::{Value, json};
use sqlx::Executor;

use super::{act, lamps, reservation, reserve, shop, take, units};
use crate::{
    auth::guarded,
    support::app::{TestApp, send},
};

#[tokio::test]
async fn wrong_requests_name_the_field() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 1)]).await;
    let item = units(&[(1, 1)]);
    let required = "This field is required.";
    for (path, body, errors) in [
        (
            "",
            json!({}),
            json!({ "store_id": [required], "items": [required] }),
        ),
        (
            "",
            json!({ "store_id": 1, "items": [] }),
            json!({ "items": ["At least one item is required"] }),
        ),
        (
            "",
            json!({ "store_id": 1, "items": units(&[(1, 1), (1, 2)]) }),
            json!({ "items": ["Duplicate products in order items"] }),
        ),
        (
            "",
            json!({ "store_id": 1, "items": [{ "quantity": 0 }] }),
            json!({ "items": [{ "product_id": [required], "quantity": ["Ensure this value is greater than or equal to 1."] }] }),
        ),
        (
            "",
            json!({ "store_id": 1, "items": [{ "sku": "none", "quantity": 1 }] }),
            json!({ "items": [{ "sku": ["No product has this SKU."] }] }),
        ),
        (
            "",
            json!({ "store_id": 1, "items": item, "ttl_seconds": 86401 }),
            json!({ "ttl_seconds": ["Ensure this value is less than or equal to 86400."] }),
        ),
        (
            "",
            json!({ "store_id": 9, "items": item }),
            json!({ "store_id": ["Store 9 not found or inactive"] }),
        ),
        ("1/extend/", json!({}), json!({ "ttl_seconds": [required] })),
        (
            "1/extend/",
            json!({ "ttl_seconds": 0 }),
            json!({ "ttl_seconds": ["Ensure this value is greater than or equal to 1."] }),
        ),
        (
            "1/release/",
            json!({ "items": units(&[(2, 1)]) }),
            json!({ "items": ["The reservation has no product \"2\"."] }),
        ),
    ] {
        app.post(&format!("/api/reservations/{path}"), &body)
            .await
            .is(400, errors);
    }
    let unknown =
        json!({ "detail": "No Reservation matches the given query.", "code": "reservation_not_found" });
    app.get("/api/reservations/9/").await.is(404, unknown.clone());
    act(&app, 9, "release", json!({})).await.is(404, unknown.clone());
    take(&app, 9, json!({})).await.is(404, unknown);
    let other = app.store("Other").await;
    take(&app, id, json!({ "store_id": other })).await.is(
        400,
        json!({ "reservation_id": ["The reservation is of another store."] }),
    );
    take(&app, id, json!({ "items": [] }))
        .await
        .is(400, json!({ "items": ["At least one item is required"] }));
    app.post("/api/orders/", &json!({ "reservation_id": null })).await.is(
        400,
        json!({ "reservation_id": ["This field may not be null."], "store_id": [required], "items": [required] }),
    );
}

#[tokio::test]
async fn reservations_of_other_stores_do_not_exist_for_a_key() {
    let app = shop().await;
    let other = app.store("Other").await;
    let id = reserve(&app, &[(1, 1)]).await;
    let guarded = app.beside_with(guarded(ApiAuth::All)).await;
    let key = guarded
        .key(
            &[Scope::OrdersRead, Scope::OrdersWrite],
            Stores::Only([other].into()),
        )
        .await;
    let asked = async |method: reqwest::Method, path: String, body: Value| {
        send(guarded.request(method, &path).bearer_auth(&key).json(&body)).await
    };
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    let one = format!("/api/reservations/{id}/");
    assert_eq!(asked(get.clone(), one.clone(), json!(null)).await.status, 404);
    assert_eq!(
        asked(post.clone(), format!("{one}release/"), json!({}))
            .await
            .status,
        404
    );
    assert_eq!(
        asked(post.clone(), format!("{one}extend/"), json!({ "ttl_seconds": 1 }))
            .await
            .status,
        404
    );
    let order = json!({ "reservation_id": id });
    assert_eq!(
        asked(post.clone(), "/api/orders/".to_owned(), order).await.status,
        404
    );
    let new = json!({ "store_id": 1, "items": units(&[(1, 1)]) });
    assert_eq!(
        asked(post, "/api/reservations/".to_owned(), new).await.status,
        400
    );
    let list = asked(get, "/api/reservations/".to_owned(), json!(null)).await;
    assert_eq!(list.body["results"], json!([]));
    assert_eq!(lamps(&app).await, [10, 1, 9]);
}

#[tokio::test]
async fn reserved_units_keep_their_stock_product_and_store() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 3)]).await;
    let refused = app.delete("/api/inventory/1/").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["reserved"]),
        (409, &json!(3))
    );
    app.patch("/api/inventory/1/", &json!({ "product_id": 2 })).await;
    let other = app.store("Other").await;
    let moved = app
        .patch("/api/inventory/1/", &json!({ "store_id": other }))
        .await;
    assert_eq!(
        (moved.status.as_u16(), &moved.body["code"]),
        (409, &json!("in_use"))
    );
    let detail =
        |what: &str| json!({ "detail": format!("Cannot delete this {what}: stock documents refer to it.") });
    app.delete("/api/products/1/").await.is(409, detail("product"));
    app.delete("/api/stores/1/").await.is(409, detail("store"));
    let category = app.get("/api/products/1/").await.body["category"]["id"].clone();
    app.delete(&format!("/api/categories/{category}/")).await.is(
        409,
        json!({ "detail": "Cannot delete this category: stock documents refer to its products." }),
    );
    act(&app, id, "release", json!({})).await;
    assert_eq!(app.delete("/api/inventory/1/").await.status, 204);
    assert_eq!(app.unbalanced().await, []);
}

/// What a write says that leaves fewer units than are reserved.
async fn assert_reserved(app: &TestApp) {
    for (path, body) in [
        (
            "adjustments/",
            json!({ "reason_code": "LOST", "adjustments": [{ "inventory_id": 1, "delta": -6 }] }),
        ),
        (
            "1/movements/",
            json!({ "kind": "remove", "quantity": 6, "reason": "Lost" }),
        ),
    ] {
        let refused = app.post(&format!("/api/inventory/{path}"), &body).await;
        assert_eq!(refused.status, 409, "{}", refused.text);
        assert!(refused.text.contains("\"code\":\"reserved\""), "{}", refused.text);
    }
    let patched = app.patch("/api/inventory/1/", &json!({ "quantity": 4 })).await;
    assert_eq!(
        (patched.status.as_u16(), &patched.body["code"]),
        (409, &json!("reserved"))
    );
}

#[tokio::test]
async fn a_write_may_take_the_newest_reserved_units() {
    for way in 0..3 {
        let app = shop().await;
        for _ in 0..3 {
            reserve(&app, &[(1, 2), (2, 1)]).await;
        }
        assert_reserved(&app).await;
        let done = match way {
            0 => {
                let lost = json!({ "reason_code": "LOST", "release_reservations": true,
                    "adjustments": [{ "inventory_id": 1, "delta": -7 }] });
                app.post("/api/inventory/adjustments/", &lost).await
            }
            1 => {
                let counted = json!({ "kind": "count", "quantity": 3, "reason": "Count", "release_reservations": true });
                app.post("/api/inventory/1/movements/", &counted).await
            }
            _ => {
                app.patch(
                    "/api/inventory/1/",
                    &json!({ "quantity": 3, "release_reservations": true }),
                )
                .await
            }
        };
        assert!(done.status.is_success(), "{}", done.text);
        assert_eq!(lamps(&app).await, [3, 2, 1]);
        let first = reservation(&app, 1).await;
        assert_eq!(
            (&first["stock_lost"], &first["items"][0]["reserved"]),
            (&json!(false), &json!(2))
        );
        let last = reservation(&app, 3).await;
        assert_eq!(
            (&last["status"], &last["stock_lost"]),
            (&json!("ACTIVE"), &json!(true))
        );
        assert_eq!(
            (&last["items"][0]["reserved"], &last["items"][1]["reserved"]),
            (&json!(0), &json!(1))
        );
        // The rest is lost too, and the reservation ends.
        let all = json!({ "kind": "count", "quantity": 0, "reason": "Flood", "release_reservations": true });
        app.post("/api/inventory/2/movements/", &all).await.created();
        let last = reservation(&app, 3).await;
        assert_eq!(
            (&last["status"], &last["stock_lost"]),
            (&json!("RELEASED"), &json!(true))
        );
        assert_eq!(reservation(&app, 1).await["status"], "ACTIVE");
        // What is left of it is sold.
        take(&app, 1, json!({})).await.created();
        assert_eq!(lamps(&app).await, [1, 0, 1]);
        assert_eq!(app.unbalanced().await, []);
    }
}

#[tokio::test]
async fn a_reversal_may_take_reserved_units() {
    let app = shop().await;
    let found = json!({ "reason_code": "FOUND", "reference": "A", "adjustments": [{ "inventory_id": 1, "delta": 5 }] });
    app.post("/api/inventory/adjustments/", &found).await;
    let id = reserve(&app, &[(1, 12)]).await;
    let mut reversal = json!({ "reference": "A", "reason": "Entered twice" });
    let refused = app.post("/api/inventory/reversals/", &reversal).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (409, &json!("reserved"))
    );
    reversal["release_reservations"] = json!(true);
    let done = app.post("/api/inventory/reversals/", &reversal).await;
    assert_eq!(done.status, 201, "{}", done.text);
    assert_eq!(lamps(&app).await, [10, 0, 10]);
    assert_eq!(reservation(&app, id).await["status"], "RELEASED");
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn reservations_wait_until_the_upgrade_is_complete() {
    let app = shop().await;
    app.pool
        .execute("delete from completed_upgrade where name = 'reservations'")
        .await
        .unwrap();
    let refused = app
        .post(
            "/api/reservations/",
            &json!({ "store_id": 1, "items": units(&[(1, 1)]) }),
        )
        .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (409, &json!("upgrade_in_progress"))
    );
}

#[tokio::test]
async fn a_caller_has_at_most_ten_thousand_active_reservations_in_a_store() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 1)]).await;
    app.pool
        .execute(
            "insert into reservation (store_id, expires_at, holder)
             select 1, now() + interval '1 hour', holder from reservation, generate_series(1, 9999)",
        )
        .await
        .unwrap();
    let body = json!({ "store_id": 1, "items": units(&[(1, 1)]) });
    let refused = app.post("/api/reservations/", &body).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    act(&app, id, "release", json!({})).await;
    app.post("/api/reservations/", &body).await.created();
}
