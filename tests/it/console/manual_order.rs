//! Orders that are written by hand.

use afforo::auth::Role;

use super::{Browser, browser, execute, led, orders::shop};
use crate::support::app::{TestApp, order};

/// The key that stands in a form.
fn key(page: &str) -> String {
    let key = page.split(r#"name="idempotency_key" value=""#).nth(1).unwrap();
    key.split('"').next().unwrap().to_owned()
}

/// The page that a change of the draft leads to.
async fn follow(browser: &mut Browser<'_>, path: &str) -> String {
    let changed = browser.get(path).await;
    browser.page(led(&changed)).await
}

#[tokio::test]
async fn adding_a_product_again_raises_its_quantity() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mut browser = browser(&app, Role::Staff).await;
    let draft = format!(
        "/admin/orders/new/?store={}&product={}&quantity=9",
        shop.here, shop.product
    );
    let added = browser.get(&format!("{draft}&add={}", shop.product)).await;
    assert_eq!(
        led(&added),
        draft.replace("quantity=9", "quantity=10"),
        "a reload adds nothing"
    );
    // The first result of the search, as a scanner adds it.
    let more = browser.get(&format!("{}&q=LAM&first=on", led(&added))).await;
    assert_eq!(led(&more), draft.replace("quantity=9", "quantity=11&q=LAM"));
    let page = browser.page(led(&more)).await;
    assert!(
        page.contains("<span data-short>Only 10 in stock.</span>"),
        "{page}"
    );
    let none = browser.get(&format!("{draft}&q=nothing&first=on")).await;
    assert_eq!(led(&none), format!("{draft}&q=nothing"));
}

#[tokio::test]
async fn lines_have_subtotals_and_a_total() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let pen = app.product("Pen", "0.35").await;
    app.stock(shop.here, pen, 5).await;
    let mut browser = browser(&app, Role::Staff).await;
    let path = format!("/admin/orders/new/?store={}&product={pen}&quantity=", shop.here);
    let page = browser.page(&format!("{path}4")).await;
    assert!(
        page.contains("data-subtotal>1.40<") && page.contains("data-total>1.40<"),
        "{page}"
    );
    assert!(page.contains("<span data-short hidden>"), "{page}");
    let page = browser.page(&format!("{path}x")).await;
    assert!(
        page.contains("data-subtotal>–<") && page.contains("data-total>–<"),
        "{page}"
    );
}

#[tokio::test]
async fn manual_order_is_composed_line_by_line() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let chair = app.product("Chair", "10.00").await;
    app.stock(shop.here, chair, 0).await;
    app.product("Lampshade that is nowhere", "1.00").await;
    let mut browser = browser(&app, Role::Staff).await;
    let path = format!("/admin/orders/new/?store={}&q=lamp", shop.here);
    let page = browser.page(&path).await;
    assert!(
        page.contains(&format!(r#"name="add" value="{}""#, shop.product)),
        "{page}"
    );
    assert!(!page.contains("Lampshade"), "{page}");
    let part = browser.page(&path.replace("new/", "new/products/")).await;
    assert!(part.contains("Lamp") && !part.contains("<html"), "{part}");

    let query = format!("&product={}&quantity=4&add={chair}", shop.product);
    let page = follow(&mut browser, &format!("{path}{query}")).await;
    assert!(page.contains(r#"inputmode="numeric" value="4""#), "{page}");
    assert!(
        page.contains(&format!(r#"name="remove" value="{chair}""#)),
        "{page}"
    );
    let page = follow(&mut browser, &format!("{path}{query}&remove={}", shop.product)).await;
    assert!(
        !page.contains(&format!(r#"name="product" value="{}""#, shop.product)),
        "{page}"
    );

    let (store, lamp, chair) = (shop.here.to_string(), shop.product.to_string(), chair.to_string());
    let key = key(&page);
    let lines = [
        ("idempotency_key", key.as_str()),
        ("store", &store),
        ("product", &lamp),
        ("quantity", "4"),
    ];
    let answer = browser.post("/admin/orders/new/", &lines).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let there = answer.header("location").to_owned();
    let page = browser.page(&there).await;
    assert!(
        page.contains(" placed and confirmed.") && page.contains("<dd>staff</dd>"),
        "{page}"
    );
    let again = browser.post("/admin/orders/new/", &lines).await;
    assert_eq!(again.header("location"), there);
    assert_eq!(app.quantity(shop.stock).await, 6);

    let lines = [("store", store.as_str()), ("product", &chair), ("quantity", "1")];
    let answer = browser.post("/admin/orders/new/", &lines).await;
    let there = answer.header("location").to_owned();
    let page = browser.page(&there).await;
    assert!(
        page.contains("Chair: 1 requested, 0 available.") && !page.contains(r#"class="notice""#),
        "{page}"
    );
    let again = page.split("Edit and try again").next().unwrap();
    let again = again
        .rsplit(r#"href=""#)
        .next()
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let draft = browser.page(&again.replace("&#38;", "&")).await;
    assert!(
        draft.contains(&format!(r#"name="product" value="{chair}""#)) && draft.contains(r#"value="1""#),
        "the lines are kept: {again} {draft}"
    );
    let later = there.split('?').next().unwrap();
    assert!(!browser.page(later).await.contains("Edit and try again"));
}

#[tokio::test]
async fn invalid_manual_order_is_shown_again_with_its_errors() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mut browser = browser(&app, Role::Staff).await;
    let (store, lamp) = (shop.here.to_string(), shop.product.to_string());
    let wrong = [("store", store.as_str()), ("product", &lamp), ("quantity", "0")];
    let answer = browser.post("/admin/orders/new/", &wrong).await;
    assert_eq!(answer.status, 400);
    for text in [
        "Ensure this value is greater than or equal to 1.",
        "Lamp",
        r#"value="0""#,
    ] {
        assert!(answer.text.contains(text), "{text}: {}", answer.text);
    }
    let answer = browser.post("/admin/orders/new/", &[("store", &store)]).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("At least one item is required"),
        "{}",
        answer.text
    );
    execute(&app, "update store set is_active = false").await;
    let right = [("store", store.as_str()), ("product", &lamp), ("quantity", "1")];
    let answer = browser.post("/admin/orders/new/", &right).await;
    assert!(answer.text.contains("not found or inactive"), "{}", answer.text);
    let orders = app.get("/api/orders/").await;
    assert_eq!(orders.body["count"], 0);
}

#[tokio::test]
async fn manual_order_without_a_store_has_an_error_at_the_field() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mut browser = browser(&app, Role::Staff).await;
    let lamp = shop.product.to_string();
    let lines = [("store", ""), ("product", lamp.as_str()), ("quantity", "1")];
    let answer = browser.post("/admin/orders/new/", &lines).await;
    assert_eq!(answer.status, 400);
    let field = r#"<p class="error" id="store-error">Choose a store.</p>"#;
    assert!(answer.text.contains(field), "{}", answer.text);
    assert!(
        !answer.text.contains("may not be null") && !answer.text.contains(r#"role="alert">"#),
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains(r#"name="store" required"#),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn changing_the_store_shows_its_stock_and_sends_no_idempotency_key() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let there = app.store("Elsewhere").await;
    app.stock(there, shop.product, 54).await;
    let mut browser = browser(&app, Role::Staff).await;
    for (store, stock) in [(shop.here, 10), (there, 54)] {
        let path = format!(
            "/admin/orders/new/?store={store}&q=lamp&product={}&quantity=1",
            shop.product
        );
        let page = browser.page(&path).await;
        let (_, draft) = page.split_once(r#"id="draft""#).unwrap();
        assert!(draft.contains(&format!("{stock} in stock")), "{draft}");
        assert!(
            draft.contains(&format!(r#"<td class="number">{stock}</td>"#)),
            "{draft}"
        );
        assert!(page.contains("Show its stock"), "{page}");
        let keys: Vec<&str> = page.split(r#"name="idempotency_key""#).collect();
        assert_eq!(keys.len(), 2, "{page}");
        assert!(keys[0].ends_with(r#"<button class="main" "#), "{}", keys[0]);
    }
    let page = browser.page("/admin/stock/new/").await;
    assert!(
        page.contains(r#"<button class="main" name="idempotency_key""#)
            && !page.contains(r#"type="hidden" name="idem"#),
        "{page}"
    );
}

#[tokio::test]
async fn only_open_store_does_not_replace_the_chosen_one() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let there = app.store("Closed").await;
    let selected = format!(r#"value="{}" selected"#, shop.here);
    execute(
        &app,
        "update store set is_active = (id = (select min(id) from store))",
    )
    .await;
    let mut browser = browser(&app, Role::Staff).await;
    assert!(browser.page("/admin/orders/new/").await.contains(&selected));
    let page = browser.page(&format!("/admin/orders/new/?store={there}")).await;
    assert!(!page.contains(&selected), "{page}");
}

#[tokio::test]
async fn order_with_all_items_says_that_it_is_full() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mut browser = browser(&app, Role::Staff).await;
    let items: Vec<String> = (1001..1101)
        .map(|id| format!("&product={id}&quantity=1"))
        .collect();
    let items = items.concat();
    let path = format!(
        "/admin/orders/new/?store={}{items}&add={}",
        shop.here, shop.product
    );
    let page = follow(&mut browser, &path).await;
    assert!(page.contains("An order has at most 100 items."), "{page}");
    assert!(
        !page.contains(&format!(r#"id="quantity-{}""#, shop.product)),
        "{page}"
    );
}

#[tokio::test]
async fn error_of_an_item_is_named_by_its_field() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mut browser = browser(&app, Role::Staff).await;
    let (store, lamp) = (shop.here.to_string(), shop.product.to_string());
    let fields = [("store", store.as_str()), ("product", &lamp), ("quantity", "0")];
    let wrong = browser.post("/admin/orders/new/", &fields).await;
    let field = format!(r#"aria-invalid="true" aria-describedby="quantity-{lamp}-error" autofocus"#);
    assert!(wrong.text.contains(&field), "{}", wrong.text);
    assert!(
        wrong.text.contains("Not saved. Please correct the fields below."),
        "{}",
        wrong.text
    );
}

#[tokio::test]
async fn viewer_cannot_place_orders() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mut browser = browser(&app, Role::Viewer).await;
    assert!(
        !browser
            .page("/admin/orders/")
            .await
            .contains("/admin/orders/new/")
    );
    assert!(!browser.page("/admin/").await.contains("/admin/orders/new/"));
    let body = order(shop.here, &[(shop.product, 1)]);
    let (store, lamp) = (body["store_id"].to_string(), shop.product.to_string());
    let fields = [("store", store.as_str()), ("product", &lamp), ("quantity", "1")];
    assert_eq!(browser.post("/admin/orders/new/", &fields).await.status, 403);
    assert_eq!(browser.get("/admin/orders/new/").await.status, 403);
    assert_eq!(
        browser.get("/admin/orders/new/products/?q=lamp").await.status,
        403
    );
    assert_eq!(app.quantity(shop.stock).await, 10);
}
