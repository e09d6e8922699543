//! `/admin/selected/`: something done to all that were checked.

use super::{Desk, led, message, text_of};
use crate::support::app::TestApp;

#[tokio::test]
async fn bulk_action_asks_first_and_names_refused_records() {
    let app = TestApp::start().await;
    let category = app.category("Lamps").await;
    let [red, blue, sold] =
        ["Red lamp", "Blue lamp", "Sold lamp"].map(|title| app.product_in(category, title, "1.00"));
    let (red, blue, sold) = (red.await, blue.await, sold.await);
    let store = app.store("Main").await;
    app.stock(store, sold, 5).await;
    app.order(store, &[(sold, 1)]).await.created();
    let desk = Desk::of(&app, "staff", None).await;
    let list = desk.html("/admin/products/").await;
    for id in [red, blue, sold] {
        assert!(
            list.contains(&format!(r#"form="selection" name="id" value="{id}""#)),
            "{list}"
        );
    }
    let url = format!("/admin/selected/?of=products&do=delete&id={red}&id={blue}&id={sold}&id=99");
    let asked = text_of(&desk.html(&url).await);
    assert!(
        asked.contains("Delete 2 products?") && asked.contains("Blue lamp Not stocked in any store: nothing else is deleted. Red lamp")
            && asked.contains(
                "Sold lamp Can't be deleted Has orders, so it can&#39;t be deleted. Deactivate it instead. Delete 2"
            ),
        "{asked}"
    );

    let ids = [red, blue, sold].map(|id| id.to_string());
    let form = |act: &'static str| -> Vec<(&str, &str)> {
        let of = [("of", "products"), ("do", act)];
        of.into_iter()
            .chain(ids.iter().map(|id| ("id", id.as_str())))
            .collect()
    };
    let none = desk.html(&url.replace("delete", "activate")).await;
    assert!(none.contains("Nothing can be activated"), "{none}");
    let inactive = desk.html(&url.replace("delete", "deactivate")).await;
    assert!(
        inactive
            .contains("An inactive product can no longer be found or ordered. You can activate it again."),
        "{inactive}"
    );
    let stock = desk.html("/admin/stock/").await;
    assert!(
        stock.contains(r#"aria-label="Select Sold lamp in Main""#),
        "{stock}"
    );
    let from_list = "/admin/selected/?list=%3Fq%3Dlamp%26page%3D2";
    let closed = desk.post(from_list, &form("deactivate")).await;
    assert_eq!(led(&closed), "/admin/products/?q=lamp&page=2");
    assert_eq!(message(&closed), "3 products deactivated.");
    let active: i64 = sqlx::query_scalar("select count(*) from product where is_active")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(active, 0);
    let done = desk.post("/admin/selected/", &form("delete")).await;
    let told = text_of(&done.text);
    assert!(told.contains("Deleted 2 of 3"), "{told}");
    assert!(
        told.contains("Sold lamp Cannot delete this product: it was ordered."),
        "{told}"
    );
    assert_eq!(app.get(&format!("/api/products/{red}/")).await.status, 404);
    assert_eq!(app.get(&format!("/api/products/{sold}/")).await.status, 200);
}

#[tokio::test]
async fn bulk_action_without_selection_does_nothing_and_unknown_gets_404() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let asked = desk.html("/admin/selected/?of=stores&do=delete").await;
    assert!(asked.contains("No rows are selected."));
    let done = desk
        .post("/admin/selected/", &[("of", "stores"), ("do", "delete")])
        .await;
    assert_eq!(message(&done), "Nothing was changed.");
    for query in [
        "",
        "?of=orders&do=delete&id=1",
        "?of=stores&do=burn&id=1",
        "?of=categories&do=activate&id=1",
    ] {
        assert_eq!(
            desk.get(&format!("/admin/selected/{query}")).await.status,
            404,
            "{query}"
        );
    }
}

#[tokio::test]
async fn account_bound_to_a_store_cannot_bulk_delete_stock_of_others() {
    let app = TestApp::start().await;
    let product = app.product("Lamp", "1.00").await;
    let (ours, theirs) = (app.store("Ours").await, app.store("Theirs").await);
    let (mine, other) = (
        app.stock(ours, product, 5).await,
        app.stock(theirs, product, 5).await,
    );
    let desk = Desk::of(&app, "staff", Some(&[ours])).await;
    let (mine_id, other_id) = (mine.to_string(), other.to_string());
    let asked = desk
        .html(&format!(
            "/admin/selected/?of=stock&do=delete&id={mine}&id={other}"
        ))
        .await;
    assert!(asked.contains("Lamp in Ours") && !asked.contains("Theirs"));
    assert!(asked.contains("Also removes the stock: 5 units."), "{asked}");
    let form = [
        ("of", "stock"),
        ("do", "delete"),
        ("id", &*mine_id),
        ("id", &*other_id),
    ];
    assert_eq!(led(&desk.post("/admin/selected/", &form).await), "/admin/stock/");
    assert_eq!(app.get(&format!("/api/inventory/{mine}/")).await.status, 404);
    assert_eq!(app.quantity(other).await, 5);
    assert_eq!(
        desk.post(
            "/admin/selected/",
            &[("of", "products"), ("do", "delete"), ("id", "1")]
        )
        .await
        .status,
        403
    );
}

#[tokio::test]
async fn stock_form_offers_another_and_leads_back_to_its_list() {
    let app = TestApp::start().await;
    let product = app.product("Lamp", "1.00").await.to_string();
    let store = app.store("Main").await.to_string();
    let desk = Desk::of(&app, "staff", None).await;
    let form = [
        ("store_id", &*store),
        ("product_id", &*product),
        ("another", "on"),
    ];
    let made = desk.post("/admin/stock/new/?another=on", &form).await;
    assert_eq!(led(&made), format!("/admin/stock/new/?store_id={store}"));
    let blank = desk.html(led(&made)).await;
    assert!(message(&made).ends_with(" added to Main."), "{}", message(&made));
    assert!(blank.contains(&format!(r#"value="{store}" selected"#)));

    let list = desk.html("/admin/stock/?state=out").await;
    let (page, kept) = ("/admin/stock/1/", "?list=%3Fstate%3Dout");
    assert!(list.contains(&format!(r#"href="{page}{kept}""#)), "{list}");
    let detail = desk.html(&format!("{page}{kept}")).await;
    assert!(
        detail.contains(r#"href="/admin/stock/?state=out">All stock"#),
        "{detail}"
    );
    let threshold = [("low_stock_threshold", "3")];
    assert_eq!(
        led(&desk
            .post(&format!("{page}threshold/{kept}&stay=on"), &threshold)
            .await),
        format!("{page}{kept}")
    );
    assert_eq!(
        led(&desk.post(&format!("{page}delete/{kept}&stay=on"), &[]).await),
        "/admin/stock/?state=out"
    );
}

#[tokio::test]
async fn rows_that_would_not_change_are_named_and_left_alone() {
    let app = TestApp::start().await;
    let (off, on) = (app.product("Off", "1.00").await, app.product("On", "1.00").await);
    app.patch(
        &format!("/api/products/{off}/"),
        &serde_json::json!({ "is_active": false }),
    )
    .await;
    let before = app.get(&format!("/api/products/{off}/")).await.body;
    let desk = Desk::of(&app, "staff", None).await;
    let query = format!("?of=products&do=deactivate&id={off}&id={on}");
    let asked = text_of(&desk.html(&format!("/admin/selected/{query}")).await);
    assert!(
        asked.contains("Off No change It is inactive already.") && asked.contains("Deactivate 1"),
        "{asked}"
    );
    let (off_id, on_id) = (off.to_string(), on.to_string());
    let form = [
        ("of", "products"),
        ("do", "deactivate"),
        ("id", &*off_id),
        ("id", &*on_id),
    ];
    led(&desk.post("/admin/selected/", &form).await);
    assert_eq!(app.get(&format!("/api/products/{off}/")).await.body, before);
    let again = desk.post("/admin/selected/", &form).await;
    assert_eq!(message(&again), "Nothing was changed.");
}
