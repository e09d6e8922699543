//! Transfers are created, shipped, received and cancelled on pages of their own.

use afforo::auth::Role;
use serde_json::json;

use super::{Browser, account, browser};
use crate::support::app::TestApp;

/// Two stores, and ten lamps (product 1, SKU LAMP) in the first.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let (north, _) = (app.store("North").await, app.store("South").await);
    let lamp = app.product("Lamp", "2.50").await;
    app.patch("/api/products/1/", &json!({ "sku": "LAMP" })).await;
    app.stock(north, lamp, 10).await;
    app
}

/// Creates a transfer of six lamps by the form.
async fn create(browser: &mut Browser<'_>, product: &str) {
    let fields = [
        ("from_store_id", "1"),
        ("to_store_id", "2"),
        ("reference", "TO-1"),
        ("product", product),
        ("quantity", "6"),
        ("product", ""),
        ("quantity", ""),
    ];
    let answer = browser.post("/admin/transfers/new/", &fields).await;
    assert_eq!(
        answer.header("location"),
        "/admin/transfers/1/",
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_transfer_is_created_shipped_received_and_closed() {
    let app = shop().await;
    let mut browser = browser(&app, Role::Staff).await;
    create(&mut browser, "LAMP").await;
    for (action, fields, status) in [
        ("ship", vec![("quantity", "5")], "In transit"),
        (
            "receive",
            vec![("received", "2"), ("damaged", "1"), ("missing", "0")],
            "Partly received",
        ),
        (
            "receive",
            vec![
                ("received", "1"),
                ("damaged", ""),
                ("missing", ""),
                ("close", "on"),
            ],
            "Received",
        ),
    ] {
        let path = format!("/admin/transfers/1/{action}/");
        let page = browser.page("/admin/transfers/1/").await;
        assert!(page.contains(&path), "{page}");
        assert!(browser.page(&path).await.contains("Lamp"));
        let fields = [vec![("product", "1")], fields].concat();
        let answer = browser.post(&path, &fields).await;
        assert_eq!(
            answer.header("location"),
            "/admin/transfers/1/",
            "{}",
            answer.text
        );
        let page = browser.page("/admin/transfers/1/").await;
        assert!(page.contains(status), "{page}");
    }
    let page = browser.page("/admin/transfers/1/").await;
    assert!(!page.contains("/receive/"), "nothing is left: {page}");
    let list = browser
        .page("/admin/transfers/?q=TO-1&from=1&status=RECEIVED")
        .await;
    assert!(list.contains("North → South"), "{list}");
    assert_eq!((app.quantity(1).await, app.quantity(2).await), (5, 3));
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_draft_and_what_is_in_transit_are_cancelled() {
    let app = shop().await;
    let mut browser = browser(&app, Role::Staff).await;
    create(&mut browser, "#1").await;
    let page = browser.page("/admin/transfers/1/cancel/").await;
    assert!(page.contains("no stock changes"), "{page}");
    let ship = [("product", "1"), ("quantity", "6")];
    browser.post("/admin/transfers/1/ship/", &ship).await;
    let wrong = [("product", "1"), ("returned", "5"), ("lost", "0")];
    let answer = browser.post("/admin/transfers/1/cancel/", &wrong).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("6 units of product 1 are in transit"),
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains("value=\"5\""),
        "what was typed stays: {}",
        answer.text
    );
    let right = [("product", "1"), ("returned", "5"), ("lost", "1")];
    let answer = browser.post("/admin/transfers/1/cancel/", &right).await;
    assert_eq!(
        answer.header("location"),
        "/admin/transfers/1/",
        "{}",
        answer.text
    );
    assert_eq!(app.quantity(1).await, 9);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_form_that_is_refused_keeps_what_was_typed() {
    let app = shop().await;
    let mut browser = browser(&app, Role::Staff).await;
    for (product, quantity, error) in [
        ("NONE", "1", "No product has this SKU."),
        ("#x", "1", "A valid integer is required."),
        ("LAMP", "0", "greater than or equal to 1"),
        ("", "", "At least one item is required"),
    ] {
        let fields = [
            ("from_store_id", "1"),
            ("to_store_id", "2"),
            ("product", product),
            ("quantity", quantity),
        ];
        let answer = browser.post("/admin/transfers/new/", &fields).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains(error), "{error}: {}", answer.text);
        assert!(
            answer.text.contains(&format!("value=\"{product}\"")),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn an_operator_of_one_store_sees_only_the_actions_of_that_store() {
    let app = shop().await;
    let mut all = browser(&app, Role::Staff).await;
    create(&mut all, "LAMP").await;
    account(&app, "south", Role::Staff, Some(vec![2])).await;
    let mut south = Browser::log_in(&app, "south").await;
    let page = south.page("/admin/transfers/1/").await;
    assert!(!page.contains("/ship/") && !page.contains("/cancel/"), "{page}");
    assert_eq!(south.get("/admin/transfers/1/ship/").await.status, 403);
    let ship = [("product", "1"), ("quantity", "6")];
    assert_eq!(south.post("/admin/transfers/1/ship/", &ship).await.status, 403);
    all.post("/admin/transfers/1/ship/", &ship).await;
    let page = south.page("/admin/transfers/1/").await;
    assert!(page.contains("/receive/"), "{page}");
}
