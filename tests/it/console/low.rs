//! Low and empty stock: all figures count the same, which is what is active, and lists have what the figures count.

use serde_json::json;

use super::{Desk, execute, text_of};
use crate::support::app::TestApp;

/// What pages say of low and empty stock in the store 1: the tiles of the overview, those of the store, the list of
/// stores, and how many the lists of stock have.
async fn figures(desk: &Desk<'_>) -> [(String, String); 3] {
    let tile = |page: &str, link: &str| {
        let tile = page.split(&format!("href=\"{link}\"")).nth(1).expect(link);
        let value = tile.split("class=\"value\">").nth(1).unwrap();
        value.split('<').next().unwrap().to_owned()
    };
    let overview = desk.html("/admin/").await;
    let store = desk.html("/admin/stores/1/").await;
    let listed = async |state: &str| {
        let text = text_of(&desk.html(&format!("/admin/stock/?state={state}")).await);
        let counted = text.split(" in all").next().unwrap();
        counted.rsplit(' ').next().unwrap().to_owned()
    };
    [
        (
            tile(&overview, "/admin/stock/?state=low"),
            tile(&overview, "/admin/stock/?state=out"),
        ),
        (
            tile(&store, "/admin/stock/?store=1&amp;state=low"),
            tile(&store, "/admin/stock/?store=1&amp;state=out"),
        ),
        (listed("low").await, listed("out").await),
    ]
}

async fn set_active(app: &TestApp, path: &str, is_active: bool) {
    let answer = app.patch(path, &json!({ "is_active": is_active })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn low_and_empty_stock_is_counted_for_active_records_only() {
    let app = TestApp::start().await;
    let (open, closed) = (app.store("Open").await, app.store("Shut").await);
    let category = app.category("Things").await;
    let mut products = Vec::new();
    for (title, quantity) in [("Lamp", 0), ("Torch", 3), ("Chair", 0), ("Rug", 100)] {
        let product = app.product_in(category, title, "1.00").await;
        app.stock(open, product, quantity).await;
        app.stock(closed, product, quantity).await;
        products.push(format!("/api/products/{product}/"));
    }
    let staff = Desk::of(&app, "staff", None).await;
    let bound = Desk::of(&app, "viewer", Some(&[open])).await;
    let expect = async |all: (&str, &str), of_store: (&str, &str)| {
        let owned = |(low, out): (&str, &str)| (low.to_owned(), out.to_owned());
        assert_eq!(figures(&staff).await, [owned(all), owned(of_store), owned(all)]);
        assert_eq!(
            figures(&bound).await,
            [owned(of_store), owned(of_store), owned(of_store)]
        );
        let stores = text_of(&staff.html("/admin/stores/").await);
        let row = format!("Open Edit Main Street 1 4 {} 0", of_store.0);
        assert!(stores.contains(&row), "{stores}");
    };
    expect(("6", "4"), ("3", "2")).await;
    set_active(&app, &format!("/api/stores/{closed}/"), false).await;
    expect(("3", "2"), ("3", "2")).await;
    set_active(&app, &products[2], false).await;
    expect(("2", "1"), ("2", "1")).await;
    let low = text_of(&staff.html("/admin/stock/?state=low").await);
    assert!(
        low.contains("Lamp") && low.contains("Torch") && !low.contains("Chair"),
        "{low}"
    );
    let any = text_of(&staff.html("/admin/stock/").await);
    assert!(any.contains("Chair") && any.contains("8 in all"), "{any}");
    let found = text_of(&staff.html("/admin/stock/?state=out&q=lamp").await);
    assert!(found.contains("Open") && !found.contains("Shut 0"), "{found}");
    set_active(&app, &format!("/api/stores/{open}/"), false).await;
    expect(("0", "0"), ("0", "0")).await;
    set_active(&app, &format!("/api/stores/{closed}/"), true).await;
    expect(("2", "1"), ("0", "0")).await;
    // The API lists low stock whatever is active.
    let listed = app.get("/api/inventory/?low_stock=true").await;
    assert_eq!(listed.body["count"], 6);
}

#[tokio::test]
async fn rejected_orders_for_inactive_records_need_no_attention() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "1.00").await);
    app.stock(store, lamp, 0).await;
    assert_eq!(app.order(store, &[(lamp, 1)]).await.body["status"], "REJECTED");
    let desk = Desk::of(&app, "viewer", None).await;
    let text = "Lamp is out of stock in Main";
    let (product, store) = (format!("/api/products/{lamp}/"), format!("/api/stores/{store}/"));
    assert!(desk.html("/admin/").await.contains(text));
    for path in [&product, &store] {
        set_active(&app, path, false).await;
        assert!(!desk.html("/admin/").await.contains(text), "{path}");
        set_active(&app, path, true).await;
    }
    assert!(desk.html("/admin/").await.contains(text));
}

#[tokio::test]
async fn low_stock_beyond_the_counting_limit_is_reported_and_listed() {
    let app = TestApp::start().await;
    app.category("Things").await;
    for sql in [
        "insert into store (name, location) select 'Store ' || lpad(n::text, 3, '0'), 'x' from generate_series(1, 251) n",
        "insert into product (title, price, category_id) select 'Lamp ' || lpad(n::text, 3, '0'), 1, 1 from generate_series(1, 200) n",
        "insert into inventory (store_id, product_id) select s.id, p.id from store s, product p",
        "update product set is_active = false where title = 'Lamp 001'",
        "update store set is_active = false where name = 'Store 001'",
    ] {
        execute(&app, sql).await;
    }
    let desk = Desk::of(&app, "viewer", None).await;
    let page = text_of(&desk.html("/admin/").await);
    assert!(page.contains("+ Out of stock 49,"), "{page}");
    let list = text_of(&desk.html("/admin/stock/?state=low").await);
    assert!(!list.contains(" in all") && list.contains("Page 1"), "{list}");
    assert!(list.contains("Lamp 002 Store 002"), "{list}");
    for inactive in ["Lamp 001", "Lamp 002 Store 001"] {
        assert!(!list.contains(inactive), "{inactive}: {list}");
    }
    let deepest = text_of(&desk.html("/admin/stock/?state=low&page=200").await);
    assert!(
        deepest.contains("Only the first 10,000 rows are listed"),
        "{deepest}"
    );
    let of_store = text_of(&desk.html("/admin/stock/?state=low&store=251").await);
    assert!(of_store.contains("199 in all"), "{of_store}");
}
