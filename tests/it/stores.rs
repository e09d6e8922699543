//! `/api/stores/`

use reqwest::Method;
use serde_json::json;

use crate::support::app::TestApp;

const LIST: &str = "/api/stores/";

#[tokio::test]
async fn store_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let created = app
        .post(
            LIST,
            &json!({ "name": " Main ", "location": " High Street 1 ", "inventory_count": 5 }),
        )
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(
        created.untimed(),
        r#"{"id":1,"name":"Main","location":"High Street 1","is_active":true,"fulfillment":"IMMEDIATE","inventory_count":0,"created_at":"…","updated_at":"…"}"#
    );
    app.get("/api/stores/1/").await.is_text(200, &created.text);
    app.patch("/api/stores/1/", &json!({ "is_active": "off" })).await;
    let put = app
        .put("/api/stores/1/", &json!({ "name": "North", "location": 7 }))
        .await;
    assert_eq!(
        (put.status.as_u16(), put.untimed().as_str()),
        (
            200,
            r#"{"id":1,"name":"North","location":"7","is_active":false,"fulfillment":"IMMEDIATE","inventory_count":0,"created_at":"…","updated_at":"…"}"#
        )
    );
    let patched = app.patch("/api/stores/1/", &json!({})).await;
    assert!(patched.body["updated_at"].as_str() > put.body["updated_at"].as_str());
    app.delete("/api/stores/1/").await.is_text(204, "");
    app.get("/api/stores/1/")
        .await
        .is_text(404, r#"{"detail":"No Store matches the given query."}"#);
}

#[tokio::test]
async fn list_has_active_stores_by_name_with_inventory_count() {
    let app = TestApp::start().await;
    for name in ["b", "a", "B", "a"] {
        app.store(name).await;
    }
    let closed = json!({ "name": "closed", "location": "x", "is_active": false });
    let closed = app.post(LIST, &closed).await.created();
    for product in ["Lamp", "Rug"] {
        let product = app.product(product, "1").await;
        app.stock(2, product, 0).await;
    }
    let list = app.get(&format!("{LIST}?is_active=false&name=b")).await;
    assert_eq!(list.column("id"), [3, 2, 4, 1], "ties by id");
    assert_eq!(list.column("inventory_count"), [0, 2, 0, 0]);
    assert_eq!(
        app.get(&format!("{LIST}{closed}/")).await.body["is_active"],
        false
    );
}

#[tokio::test]
async fn invalid_store_fields_are_reported_in_field_order() {
    let app = TestApp::start().await;
    let required = r#"{"name":["This field is required."],"location":["This field is required."]}"#;
    app.post(LIST, &json!({})).await.is_text(400, required);
    let path = format!("{LIST}{}/", app.store("Main").await);
    app.put(&path, &json!({ "is_active": true }))
        .await
        .is_text(400, required);
    let long = json!({ "is_active": "x", "location": "l".repeat(301), "name": "n".repeat(201) });
    app.patch(&path, &long).await.is_text(
        400,
        r#"{"name":["Ensure this field has no more than 200 characters."],"location":["Ensure this field has no more than 300 characters."],"is_active":["Must be a valid boolean."]}"#,
    );
    let nothing = json!({ "name": null, "location": " ", "is_active": null });
    app.post(LIST, &nothing).await.is_text(
        400,
        r#"{"name":["This field may not be null."],"location":["This field may not be blank."],"is_active":["This field may not be null."]}"#,
    );
    let longest = json!({ "name": "ä".repeat(200), "location": "ö".repeat(300) });
    app.post(LIST, &longest).await.created();
}

#[tokio::test]
async fn deleting_a_store_deletes_its_stock_unless_it_has_orders() {
    let app = TestApp::start().await;
    let (free, busy) = (app.store("Free").await, app.store("Busy").await);
    let product = app.product("Lamp", "1").await;
    let stock = app.stock(free, product, 3).await;
    let rejected = app.order(busy, &[(product, 1)]).await;
    assert_eq!(rejected.status, 200);
    app.delete(&format!("{LIST}{free}/")).await.is_text(204, "");
    assert_eq!(app.get(&format!("/api/inventory/{stock}/")).await.status, 404);
    app.delete(&format!("{LIST}{busy}/"))
        .await
        .is_text(409, r#"{"detail":"Cannot delete this store: it has orders."}"#);
    assert_eq!(app.get("/api/orders/").await.body["count"], 1);
}

#[tokio::test]
async fn unknown_store_is_404_before_the_body_is_parsed() {
    let app = TestApp::start().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        app.send_text(method, "/api/stores/5/", "[")
            .await
            .is_text(404, r#"{"detail":"No Store matches the given query."}"#);
    }
}
