//! `PATCH /api/orders/{id}/`

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ORDERS, full, lamp, shop};
use crate::{
    auth::guarded,
    support::app::{TestApp, send},
};

const FIRST: &str = "/api/orders/1/";

async fn with_order(data: Value) -> TestApp {
    let app = shop().await;
    assert_eq!(app.post(ORDERS, &lamp(data)).await.created(), 1);
    app
}

#[tokio::test]
async fn members_change_by_themselves_and_null_removes_them() {
    let app = with_order(full()).await;
    for (change, name, value) in [
        (json!({}), "note", json!("Two\nlines")),
        (json!({ "note": "One" }), "note", json!("One")),
        (json!({ "note": null }), "note", Value::Null),
        (
            json!({ "customer": { "email": "new@example.com", "phone": null } }),
            "customer",
            json!({ "reference": "C-7", "name": "Ada Jansen", "email": "new@example.com" }),
        ),
        (json!({ "customer": null }), "customer", Value::Null),
        (
            json!({ "metadata": { "gift": null, "color": "red" } }),
            "metadata",
            json!({ "channel": "web", "color": "red" }),
        ),
        (
            json!({ "metadata": { "channel": null, "color": "" } }),
            "metadata",
            json!({ "color": "" }),
        ),
        (
            json!({ "external_reference": "WEB-1" }),
            "external_reference",
            json!("WEB-1"),
        ),
    ] {
        let before = app.get(FIRST).await.body;
        let changed = app.patch(FIRST, &change).await;
        assert_eq!(changed.status, 200, "{change}: {}", changed.text);
        assert_eq!(changed.body.get(name).unwrap_or(&Value::Null), &value, "{change}");
        assert_ne!(changed.body["updated_at"], before["updated_at"], "{change}");
        assert_eq!(changed.body["items"], before["items"]);
        let read = app.get(FIRST).await;
        assert_eq!(
            (&read.body, read.header("etag")),
            (&changed.body, changed.header("etag"))
        );
    }
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_reference_can_be_set_once_and_must_be_free() {
    let app = with_order(json!({})).await;
    let taken = app
        .post(ORDERS, &lamp(json!({ "external_reference": "WEB-2" })))
        .await
        .created();
    let set = async |reference: Value| {
        app.patch(FIRST, &json!({ "external_reference": reference }))
            .await
    };
    let refused = set(json!("WEB-2")).await;
    assert_eq!(
        (
            refused.status.as_u16(),
            &refused.body["code"],
            &refused.body["order_id"]
        ),
        (409, &json!("duplicate_reference"), &json!(taken))
    );
    assert_eq!(set(json!("WEB-1")).await.status, 200);
    for other in [json!("WEB-3"), Value::Null, json!("")] {
        set(other).await.is(
            409,
            json!({
                "detail": "The external_reference is set, and cannot change.", "code": "invalid_transition", "order_id": 1,
            }),
        );
    }
    let again = app
        .post(ORDERS, &lamp(json!({ "external_reference": "WEB-1" })))
        .await;
    assert_eq!((again.status.as_u16(), &again.body["order_id"]), (409, &json!(1)));
    assert_eq!(
        app.get("/api/orders/?external_reference=WEB-1").await.body["count"],
        1
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_of_different_metadata_keys_survive() {
    let app = with_order(json!({})).await;
    let keys: Vec<String> = (0..24).map(|number| format!("key-{number}")).collect();
    let changes = join_all(
        keys.iter()
            .map(async |key| app.patch(FIRST, &json!({ "metadata": { key: key } })).await),
    )
    .await;
    assert!(changes.iter().all(|changed| changed.status == 200));
    let metadata = app.get(FIRST).await.body["metadata"].clone();
    for key in &keys {
        assert_eq!(metadata[key], json!(key));
    }
    let more: serde_json::Map<String, Value> = (0..27)
        .map(|number| (format!("more-{number}"), json!("")))
        .collect();
    app.patch(FIRST, &json!({ "metadata": more })).await.is(
        400,
        json!({ "metadata": ["Ensure this field has no more than 50 keys."] }),
    );
}

#[tokio::test]
async fn a_change_names_its_version_and_an_order_of_the_caller() {
    let open = with_order(full()).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let bound = app.key(&[Scope::OrdersManage], Stores::Only([2].into())).await;
    let key = app.key(&[Scope::OrdersManage], Stores::All).await;
    let change = async |key: &str, tag: &str, body: Value| {
        let request = app.request(Method::PATCH, FIRST).bearer_auth(key);
        send(request.header("if-match", tag).json(&body)).await
    };
    let other = change(&bound, "*", json!({ "note": "x" })).await;
    other.is(404, json!({ "detail": "No Order matches the given query." }));
    let tag = open.get(FIRST).await.header("etag").to_owned();
    assert_eq!(change(&key, &tag, json!({ "note": "x" })).await.status, 200);
    assert_eq!(change(&key, &tag, json!({ "note": "y" })).await.status, 412);
    assert_eq!(open.get(FIRST).await.body["note"], "x");
    assert_eq!(
        open.patch("/api/orders/99/", &json!({ "note": [] })).await.status,
        404
    );
    open.patch(FIRST, &json!({ "note": [] }))
        .await
        .is(400, json!({ "note": ["Not a valid string."] }));
}
