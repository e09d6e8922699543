//! Items of an order are cancelled, handed over and returned on pages of their own.

use afforo::auth::Role;
use serde_json::json;

use super::browser;
use crate::support::app::TestApp;

/// A tracked store that has sold three of ten lamps.
async fn sold() -> TestApp {
    let app = TestApp::start().await;
    let store = json!({ "name": "Main", "location": "Here", "fulfillment": "TRACKED" });
    let store = app.post("/api/stores/", &store).await.created();
    let lamp = app.product("Lamp", "2.50").await;
    app.stock(store, lamp, 10).await;
    app.order(store, &[(lamp, 3)]).await.created();
    app
}

#[tokio::test]
async fn items_are_handed_over_cancelled_and_taken_back() {
    let app = sold().await;
    let mut browser = browser(&app, Role::Staff).await;
    for (action, fields, done) in [
        (
            "fulfill",
            vec![("quantity", "2"), ("note", "DHL 42")],
            "2 units handed over.",
        ),
        (
            "cancel",
            vec![("quantity", "1"), ("reason", "Late"), ("restock", "on")],
            "1 unit cancelled.",
        ),
        (
            "return",
            vec![
                ("quantity", "2"),
                ("reason", "Broken"),
                ("restock", ""),
                ("refund_amount", "1,50"),
            ],
            "2 units returned.",
        ),
    ] {
        let path = format!("/admin/orders/1/{action}/");
        let order = browser.page("/admin/orders/1/").await;
        assert!(order.contains(&path), "{order}");
        let fields = [vec![("item", "1")], fields].concat();
        let answer = browser.post(&path, &fields).await;
        assert_eq!(answer.header("location"), "/admin/orders/1/", "{}", answer.text);
        let order = browser.page("/admin/orders/1/").await;
        assert!(order.contains(done), "{order}");
    }
    let order = browser.page("/admin/orders/1/").await;
    for action in ["fulfill", "cancel", "return"] {
        assert!(
            !order.contains(&format!("/admin/orders/1/{action}/")),
            "no unit is left: {order}"
        );
    }
    assert!(order.contains("API (no key)"), "staff has not placed it: {order}");
    for text in [
        "2 units handed over",
        "DHL 42",
        "1 cancelled",
        "2 returned",
        "4.00",
    ] {
        assert!(order.contains(text), "{text}: {order}");
    }
    assert_eq!(app.quantity(1).await, 8);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_form_that_is_refused_keeps_what_was_typed() {
    let app = sold().await;
    let mut browser = browser(&app, Role::Staff).await;
    for (fields, error) in [
        ([("quantity", "9"), ("reason", "Late")], "Fewer units are left."),
        (
            [("quantity", "1"), ("reason", " ")],
            "This field may not be blank.",
        ),
        (
            [("quantity", "x"), ("reason", "Late")],
            "A valid integer is required.",
        ),
        (
            [("quantity", ""), ("reason", "Late")],
            "At least one item is required",
        ),
    ] {
        let fields = [vec![("item", "1")], fields.to_vec()].concat();
        let answer = browser.post("/admin/orders/1/cancel/", &fields).await;
        assert!(answer.status.is_client_error(), "{}", answer.status);
        assert!(answer.text.contains(error), "{error}: {}", answer.text);
    }
    assert_eq!(app.quantity(1).await, 7);
}
