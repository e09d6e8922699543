//! Transfers through keys that are bound to stores.

use reqwest::Method;
use serde_json::{Value, json};

use super::{done, draft, got, item, shop};
use crate::{
    auth::guarded,
    support::app::{Answer, TestApp, send},
};
use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};

const SCOPES: [Scope; 2] = [Scope::InventoryRead, Scope::InventoryWrite];

async fn with_key(app: &TestApp, key: &str, method: Method, path: &str, body: Value) -> Answer {
    send(app.request(method, path).header("x-api-key", key).json(&body)).await
}

fn required(store: i64) -> Value {
    json!({ "detail": format!("This needs access to store {store}."), "code": "store_required", "store_id": store })
}

#[tokio::test]
async fn the_source_ships_and_cancels_the_destination_receives_and_both_see() {
    let open = shop().await;
    open.store("East").await;
    draft(&open).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let mut keys = Vec::new();
    for store in [1, 2, 3] {
        keys.push(app.key(&SCOPES, Stores::Only([store].into())).await);
    }
    let [source, destination, neither] = keys.try_into().unwrap();
    for (key, status, listed) in [(&source, 200, 1), (&destination, 200, 1), (&neither, 404, 0)] {
        let one = with_key(&app, key, Method::GET, "/api/transfers/1/", json!({})).await;
        assert_eq!(one.status, status);
        let list = with_key(&app, key, Method::GET, "/api/transfers/", json!({})).await;
        assert_eq!(list.column("id").len(), listed);
    }
    let receipt = json!({ "items": [got(1, [1, 0, 0])] });
    for (method, path, body) in [
        (Method::PATCH, "/api/transfers/1/", json!({})),
        (Method::POST, "/api/transfers/1/ship/", json!({})),
        (Method::POST, "/api/transfers/1/cancel/", json!({})),
    ] {
        let answer = with_key(&app, &destination, method.clone(), path, body.clone()).await;
        answer.is(403, required(1));
        assert_eq!(with_key(&app, &neither, method, path, body).await.status, 404);
    }
    with_key(
        &app,
        &source,
        Method::POST,
        "/api/transfers/1/receive/",
        receipt.clone(),
    )
    .await
    .is(403, required(2));
    let ship = with_key(&app, &source, Method::POST, "/api/transfers/1/ship/", json!({})).await;
    assert_eq!(ship.status, 200);
    let received = with_key(
        &app,
        &destination,
        Method::POST,
        "/api/transfers/1/receive/",
        receipt,
    )
    .await;
    assert_eq!(
        (received.status.as_u16(), &received.body["status"]),
        (200, &json!("PARTIAL"))
    );
    let settled =
        json!({ "items": [{ "product_id": 1, "returned": 5 }, { "product_id": 2, "returned": 4 }] });
    let cancelled = with_key(&app, &source, Method::POST, "/api/transfers/1/cancel/", settled).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(open.unbalanced().await, []);
}

#[tokio::test]
async fn a_new_transfer_needs_the_source_and_at_once_both_stores() {
    let open = shop().await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let source = app.key(&SCOPES, Stores::Only([1].into())).await;
    let destination = app.key(&SCOPES, Stores::Only([2].into())).await;
    let both = app.key(&SCOPES, Stores::Only([1, 2].into())).await;
    let new = |immediate: bool| json!({ "from_store_id": 1, "to_store_id": 2, "items": [item(1, 1)], "immediate": immediate });
    let create = async |key: &str, immediate| {
        with_key(&app, key, Method::POST, "/api/transfers/", new(immediate)).await
    };
    create(&source, false).await.created();
    create(&source, true).await.is(403, required(2));
    create(&destination, false).await.is(
        400,
        json!({ "from_store_id": ["Invalid pk \"1\" - object does not exist."] }),
    );
    create(&both, true).await.created();
    assert_eq!(done(&open, "cancel", json!({})).await["status"], "CANCELLED");
}
