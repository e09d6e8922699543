//! Stock pages of accounts that may not read or change all stock.

use afforo::auth::Role;

use super::{Browser, account, browser, stock::listed};
use crate::support::app::TestApp;

#[tokio::test]
async fn account_bound_to_a_store_sees_and_changes_its_stock_only() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let (lamp, chair) = (
        app.product("Lamp", "2.50").await,
        app.product("Chair", "1.00").await,
    );
    let mine = app.stock(here, lamp, 5).await;
    let other = app.stock(there, lamp, 5).await;
    account(&app, "bound", Role::Staff, Some(vec![here])).await;
    let mut browser = Browser::log_in(&app, "bound").await;
    for query in ["", "?q=lamp", "?state=low", &format!("?store={there}&q=lamp")] {
        let page = browser.page(&format!("/admin/stock/{query}")).await;
        let expected: &[&str] = if query.contains("store") {
            &[]
        } else {
            &["Lamp @ Here"]
        };
        assert_eq!(listed(&page), expected, "{query}");
        assert!(!page.contains("There"), "{query}");
    }
    assert_eq!(browser.get(&format!("/admin/stock/{mine}/")).await.status, 200);
    for path in ["", "delete/"] {
        assert_eq!(
            browser.get(&format!("/admin/stock/{other}/{path}")).await.status,
            404,
            "{path}"
        );
    }
    let fields = [
        ("kind", "add"),
        ("quantity", "1"),
        ("reason", "x"),
        ("low_stock_threshold", "1"),
    ];
    for path in ["movements/", "threshold/", "delete/"] {
        assert_eq!(
            browser
                .post(&format!("/admin/stock/{other}/{path}"), &fields)
                .await
                .status,
            404,
            "{path}"
        );
    }
    let (store, product) = (there.to_string(), chair.to_string());
    let answer = browser
        .post(
            "/admin/stock/new/",
            &[("store_id", store.as_str()), ("product_id", &product)],
        )
        .await;
    assert!(answer.status.is_client_error(), "{}", answer.text);
    assert_eq!(
        app.get(&format!("/api/inventory/?product_id={chair}")).await.body["count"],
        0
    );
    assert_eq!(app.quantity(other).await, 5);
}

#[tokio::test]
async fn viewer_cannot_change_stock() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("<script>alert(1)</script>", "2.50").await;
    let id = app.stock(store, lamp, 5).await;
    let mut browser = browser(&app, Role::Viewer).await;
    for path in ["/admin/stock/", &format!("/admin/stock/{id}/")] {
        let page = browser.page(path).await;
        assert!(
            !page.contains("<script>alert") && page.contains("&#60;script&#62;alert(1)"),
            "{path}"
        );
        assert!(
            !page.contains("/new/") && !page.contains("/delete/") && !page.contains("/movements/"),
            "{path}"
        );
    }
    let fields = [("kind", "add"), ("quantity", "1"), ("reason", "x")];
    for path in [
        "new/".to_owned(),
        format!("{id}/movements/"),
        format!("{id}/threshold/"),
        format!("{id}/delete/"),
    ] {
        assert_eq!(
            browser
                .post(&format!("/admin/stock/{path}"), &fields)
                .await
                .status,
            403,
            "{path}"
        );
    }
    for path in ["new/".to_owned(), "new/products/".into(), format!("{id}/delete/")] {
        assert_eq!(
            browser.get(&format!("/admin/stock/{path}")).await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(app.quantity(id).await, 5);
}
