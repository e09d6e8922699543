//! What is done to the quantity of stock, and its reason.

use afforo::auth::Role;
use serde_json::json;

use super::{audit_log, browser};
use crate::support::app::TestApp;

#[tokio::test]
async fn stock_is_added_removed_and_counted_with_a_reason() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let id = app.stock(store, lamp, 5).await;
    let order = app.order(store, &[(lamp, 1)]).await.created();
    let mut browser = browser(&app, Role::Staff).await;
    let path = format!("/admin/stock/{id}/movements/");
    for (kind, quantity, reason, after) in [
        ("add", "10", "a <b>delivery</b>", 14),
        ("remove", "2", "broken", 12),
        ("count", "7", "inventory", 7),
    ] {
        let fields = [("kind", kind), ("quantity", quantity), ("reason", reason)];
        let answer = browser.post(&path, &fields).await;
        assert_eq!(
            answer.header("location"),
            format!("/admin/stock/{id}/"),
            "{}",
            answer.text
        );
        assert_eq!(app.quantity(id).await, after);
    }
    let page = browser.page(&format!("/admin/stock/{id}/")).await;
    assert!(page.contains("Stock updated: 12 → 7."), "{page}");
    let deltas: Vec<&str> = ["−5", "−2", "+10", "−1", "+5"]
        .into_iter()
        .filter(|delta| page.contains(&format!(">{delta}<")))
        .collect();
    assert_eq!(deltas.len(), 5, "{page}");
    for text in [
        "a &#60;b&#62;delivery",
        "broken",
        r#"<td class="more">staff</td>"#,
        &format!("/admin/orders/{order}/"),
        r#"class="line" d="M0.00 "#,
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(app.unbalanced().await, []);
    assert_eq!(
        audit_log(&app)
            .await
            .iter()
            .filter(|entry| entry.contains(&format!("stock:{id}")))
            .count(),
        4
    );
}

#[tokio::test]
async fn a_count_of_a_stale_page_is_shown_again_with_the_current_quantity() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Here").await, app.product("Lamp", "2.50").await);
    let id = app.stock(store, lamp, 5).await;
    let mut browser = browser(&app, Role::Staff).await;
    let path = format!("/admin/stock/{id}/movements/");
    let shown = r#"name="expected_quantity" value="5""#;
    assert!(browser.page(&format!("/admin/stock/{id}/")).await.contains(shown));
    app.order(store, &[(lamp, 2)]).await.created();
    let mut fields = [
        ("kind", "count"),
        ("quantity", "4"),
        ("reason", "counted"),
        ("expected_quantity", "5"),
    ];
    let refused = browser.post(&path, &fields).await;
    assert_eq!(refused.status, 409);
    for text in [
        "The quantity is 3, not the expected one.",
        r#"name="expected_quantity" value="3""#,
    ] {
        assert!(refused.text.contains(text), "{text}: {}", refused.text);
    }
    assert_eq!(app.quantity(id).await, 3);
    fields[3].1 = "3";
    browser.post(&path, &fields).await;
    assert_eq!(app.quantity(id).await, 4);
    // Units that are added or removed add up with those of orders.
    let fields = [
        ("kind", "add"),
        ("quantity", "4"),
        ("reason", "found"),
        ("expected_quantity", "99"),
    ];
    browser.post(&path, &fields).await;
    assert_eq!(app.quantity(id).await, 8);
}

#[tokio::test]
async fn invalid_movement_is_shown_again_with_its_error() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let id = app.stock(store, lamp, 5).await;
    let mut browser = browser(&app, Role::Staff).await;
    let path = format!("/admin/stock/{id}/movements/");
    for (kind, quantity, reason) in [
        ("remove", "6", "lost"),
        ("add", "x", "lost"),
        ("add", "1", ""),
        ("", "1", "lost"),
    ] {
        let fields = [("kind", kind), ("quantity", quantity), ("reason", reason)];
        let answer = browser.post(&path, &fields).await;
        assert_eq!(answer.status, 400, "{kind} {quantity} {reason}");
        assert!(answer.text.contains(r#"class="error""#), "{}", answer.text);
        assert!(
            answer.text.contains(&format!(r#"value="{quantity}""#)),
            "{}",
            answer.text
        );
    }
    let threshold = format!("/admin/stock/{id}/threshold/");
    let answer = browser.post(&threshold, &[("low_stock_threshold", "-1")]).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("greater than or equal to 0"),
        "{}",
        answer.text
    );
    let answer = browser.post(&threshold, &[("low_stock_threshold", "3")]).await;
    assert_eq!(answer.header("location"), format!("/admin/stock/{id}/"));
    let row = app.get(&format!("/api/inventory/{id}/")).await.body;
    assert_eq!(
        (&row["quantity"], &row["low_stock_threshold"]),
        (&json!(5), &json!(3))
    );
}

#[tokio::test]
async fn form_sent_twice_changes_stock_once() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let id = app.stock(store, lamp, 5).await;
    let mut browser = browser(&app, Role::Staff).await;
    let page = browser.page(&format!("/admin/stock/{id}/")).await;
    let key = page.split(r#"name="idempotency_key" value=""#).nth(1).unwrap();
    let key = key.split('"').next().unwrap();
    let fields = [
        ("idempotency_key", key),
        ("kind", "add"),
        ("quantity", "1"),
        ("reason", "found"),
    ];
    for _ in 0..2 {
        let answer = browser
            .post(&format!("/admin/stock/{id}/movements/"), &fields)
            .await;
        assert_eq!(answer.status, 303, "{}", answer.text);
    }
    assert_eq!(app.quantity(id).await, 6);
}

#[tokio::test]
async fn a_reversal_and_the_reversed_movement_are_marked() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Here").await, app.product("Lamp", "2.50").await);
    let id = app.stock(store, lamp, 5).await;
    let added = json!({ "kind": "add", "quantity": 3, "reason": "Delivery" });
    let movement = app
        .post(&format!("/api/inventory/{id}/movements/"), &added)
        .await
        .created();
    let reversal = json!({ "movement_ids": [movement], "reason": "Sent back" });
    assert_eq!(app.post("/api/inventory/reversals/", &reversal).await.status, 201);
    let mut browser = browser(&app, Role::Staff).await;
    let page = browser.page(&format!("/admin/stock/{id}/")).await;
    let titles: Vec<&str> = page
        .split(r#"<td class="title">"#)
        .skip(1)
        .filter_map(|cell| cell.split("</td>").next())
        .collect();
    let reversed = r#"Adjusted <span class="badge">Reversed</span>"#;
    assert_eq!(titles, ["Reversal", reversed, "Opening stock"]);
}
