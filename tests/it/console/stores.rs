//! `/admin/stores/`

use afforo::auth::Role;
use serde_json::json;

use super::{Desk, browser, execute, led, text_of};
use crate::support::app::TestApp;

#[tokio::test]
async fn store_is_created_changed_deactivated_and_deleted() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    assert!(
        desk.html("/admin/stores/")
            .await
            .contains("There are no stores yet.")
    );
    let refused = desk
        .post("/admin/stores/new/", &[("name", "North"), ("location", " ")])
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("This field may not be blank.") && refused.text.contains(r#"value="North""#)
    );

    let fields = [
        ("name", "North"),
        ("location", "Main Street 1"),
        ("is_active", "on"),
    ];
    let path = led(&desk.post("/admin/stores/new/", &fields).await).to_owned();
    let saved = desk
        .post(
            &format!("{path}edit/"),
            &[
                ("name", "North"),
                ("location", "Side Street 2"),
                ("is_active", "on"),
            ],
        )
        .await;
    assert_eq!(led(&saved), path);
    let text = text_of(&desk.html(&path).await);
    assert!(
        text.contains("Side Street 2") && text.contains("Active") && text.contains("No orders yet."),
        "{text}"
    );
    assert_eq!(
        led(&desk.post(&format!("{path}deactivate/?list=%3F"), &[]).await),
        "/admin/stores/"
    );
    assert!(
        text_of(&desk.html("/admin/stores/?state=inactive&q=SIDE").await)
            .contains("North Edit Side Street 2 0 0 0 Inactive")
    );

    let asked = text_of(&desk.html(&format!("{path}delete/")).await);
    assert!(
        asked.contains("It has no stock: nothing else is deleted."),
        "{asked}"
    );
    assert_eq!(
        led(&desk.post(&format!("{path}delete/"), &[]).await),
        "/admin/stores/"
    );
    assert_eq!(desk.get(&path).await.status, 404);
}

#[tokio::test]
async fn store_page_shows_its_stock_and_orders() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let store = app.store("<North>").await;
    let (saw, axe) = (
        app.product("Saw", "600.00").await,
        app.product("Axe", "5.00").await,
    );
    app.stock(store, saw, 12).await;
    app.stock(store, axe, 0).await;
    app.order(store, &[(saw, 2)]).await;
    app.order(store, &[(axe, 2)]).await;
    let path = format!("/admin/stores/{store}/");
    let html = desk.html(&path).await;
    let text = text_of(&html);
    assert!(
        text.contains("Products 2 Low 2 Out of stock 1 Orders 2"),
        "{text}"
    );
    assert!(text.contains("Confirmed 1 1,200.00 Rejected 1 0.00"), "{text}");
    assert!(html.contains(&format!("/admin/orders/?store={store}&amp;status=REJECTED")));
    assert!(
        html.contains(&format!("/admin/stock/?store={store}&amp;state=low")) && !html.contains("<North>")
    );

    let asked = desk.html(&format!("{path}delete/")).await;
    assert!(asked.contains("Has orders, so it can&#39;t be deleted.") && asked.contains("deactivate/"));
    let refused = desk.post(&format!("{path}delete/"), &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("Cannot delete this store: it has orders."));

    let other = app.store("South").await;
    app.stock(other, saw, 30).await;
    let asked = text_of(&desk.html(&format!("/admin/stores/{other}/delete/")).await);
    assert!(
        asked.contains("Also deletes its stock: 30 units of 1 product."),
        "{asked}"
    );
}

#[tokio::test]
async fn account_bound_to_stores_changes_these_only_and_creates_none() {
    let app = TestApp::start().await;
    let (north, south) = (app.store("North").await, app.store("South").await);
    let desk = Desk::of(&app, "staff", Some(&[south])).await;
    let list = desk.html("/admin/stores/").await;
    assert!(list.contains("South") && !list.contains("North") && !list.contains("stores/new/"));
    for act in ["", "edit/", "delete/"] {
        assert_eq!(
            desk.get(&format!("/admin/stores/{north}/{act}")).await.status,
            404,
            "{act}"
        );
    }
    let fields = [("name", "Mine"), ("location", "Here")];
    for act in ["edit/", "activate/", "deactivate/", "delete/"] {
        assert_eq!(
            desk.post(&format!("/admin/stores/{north}/{act}"), &fields)
                .await
                .status,
            404,
            "{act}"
        );
    }
    assert_eq!(desk.get("/admin/stores/new/").await.status, 403);
    assert_eq!(desk.post("/admin/stores/new/", &fields).await.status, 403);
    led(&desk.post(&format!("/admin/stores/{south}/edit/"), &fields).await);
    let names = sqlx::query_scalar::<_, String>("select name from store order by id");
    assert_eq!(names.fetch_all(&app.pool).await.unwrap(), ["North", "Mine"]);
}

#[tokio::test]
async fn viewer_cannot_change_stores() {
    let app = TestApp::start().await;
    let store = app.store("North").await;
    let desk = Desk::of(&app, "viewer", None).await;
    let path = format!("/admin/stores/{store}/");
    let html = desk.html("/admin/stores/").await + &desk.html(&path).await;
    for offer in ["stores/new/", "/edit/", "/delete/", "activate/"] {
        assert!(!html.contains(offer), "{offer} is not offered");
    }
    for act in ["edit/", "activate/", "deactivate/", "delete/"] {
        let answer = desk
            .post(&format!("{path}{act}"), &[("name", "Mine"), ("location", "Here")])
            .await;
        assert_eq!(answer.status, 403, "{act}");
    }
    let kept = app.get(&format!("/api/stores/{store}/")).await.body;
    assert_eq!(
        (&kept["name"], &kept["is_active"]),
        (&json!("North"), &json!(true))
    );
}

#[tokio::test]
async fn stores_of_the_same_name_are_distinguished_in_choices() {
    let app = TestApp::start().await;
    for name in ["Amsterdam", "Amsterdam", "Delft"] {
        app.store(name).await;
    }
    execute(&app, "update store set location = 'Dam ' || id").await;
    let mut root = browser(&app, Role::Superuser).await;
    for path in [
        "/admin/access/accounts/new/",
        "/admin/orders/",
        "/admin/stock/new/",
    ] {
        let page = root.page(path).await;
        assert!(
            page.contains("Amsterdam, Dam 1<") || page.contains("Amsterdam, Dam 1 <"),
            "{path}: {page}"
        );
        assert!(
            page.contains("Amsterdam, Dam 2") && !page.contains("Delft,"),
            "{path}"
        );
    }
}
