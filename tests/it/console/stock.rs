//! Stock in the console: the list and its filters, one row with its ledger, and what is done to it.

use afforo::auth::Role;
use serde_json::json;

use super::{Browser, Desk, account, browser, count, execute};
use crate::support::app::TestApp;

/// The rows of a list, as `product @ store`.
pub(super) fn listed(page: &str) -> Vec<String> {
    let rows = page.split("<th scope=\"row\"").skip(1);
    rows.map(|row| {
        let row = row.split_once("<a href=\"/admin/stock/").unwrap().1;
        let title = row.split_once('>').unwrap().1.split('<').next().unwrap();
        let store = row
            .split("<td class=\"note\">")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap();
        format!("{title} @ {store}")
    })
    .collect()
}

fn link(page: &str, rel: &str) -> Option<String> {
    let link = page.split(&format!(r#"rel="{rel}" href=""#)).nth(1)?;
    Some(link.split('"').next().unwrap().replace("&#38;", "&"))
}

#[tokio::test]
async fn list_filters_by_store_category_title_and_level() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let (light, seats) = (app.category("Light").await, app.category("Seats").await);
    let lamp = app.product_in(light, "Lamp 100%", "2.50").await;
    let torch = app.product_in(light, "Torch", "2.50").await;
    let chair = app.product_in(seats, "Chair", "2.50").await;
    for (store, product, quantity) in [
        (there, lamp, 0),
        (here, lamp, 50),
        (here, torch, 0),
        (here, chair, 3),
    ] {
        app.stock(store, product, quantity).await;
    }
    app.patch(&format!("/api/products/{torch}/"), &json!({ "is_active": false }))
        .await;
    let mut browser = browser(&app, Role::Viewer).await;
    let (chair, lamp, torch, far) = (
        "Chair @ Here",
        "Lamp 100% @ Here",
        "Torch @ Here",
        "Lamp 100% @ There",
    );
    for (query, expected) in [
        (String::new(), vec![chair, lamp, torch, far]),
        ("?sort=-store".to_owned(), vec![far, chair, lamp, torch]),
        (format!("?store={here}"), vec![chair, lamp, torch]),
        (format!("?store={here}&sort=-title"), vec![torch, lamp, chair]),
        (format!("?store={here}&sort=quantity"), vec![torch, chair, lamp]),
        (format!("?store={here}&sort=-quantity"), vec![lamp, chair, torch]),
        (format!("?category={light}"), vec![lamp, far, torch]),
        (format!("?category={light}&store={here}&state=out"), vec![]),
        ("?q=LAMP".to_owned(), vec![lamp, far]),
        ("?q=torch".to_owned(), vec![torch]),
        ("?q=0%25".to_owned(), vec![lamp, far]),
        ("?q=_".to_owned(), vec![]),
        ("?state=low".to_owned(), vec![chair, far]),
        ("?state=out".to_owned(), vec![far]),
        (format!("?state=out&q=lamp&category={light}"), vec![far]),
        (format!("?q=lamp&category={seats}"), vec![]),
    ] {
        let page = browser.page(&format!("/admin/stock/{query}")).await;
        assert_eq!(listed(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_continue_across_stores_and_products() {
    let app = TestApp::start().await;
    app.category("Light").await;
    execute(
        &app,
        "insert into store (name, location) select 'Store ' || lpad(n::text, 2, '0'), 'x' from generate_series(1, 6) n",
    )
    .await;
    execute(
        &app,
        "insert into product (title, price, category_id) select 'Lamp ' || lpad(n::text, 2, '0'), 1, (select id from category)
         from generate_series(1, 20) n",
    )
    .await;
    execute(
        &app,
        "insert into inventory (store_id, product_id) select s.id, p.id from store s, product p",
    )
    .await;
    let mut by_store: Vec<String> = sqlx::query_scalar(
        "select p.title || ' @ ' || s.name from store s, product p order by s.name, p.title",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let mut browser = browser(&app, Role::Viewer).await;
    for (query, counted) in [
        ("", true),
        ("?state=low", true),
        ("?state=out", true),
        ("?q=lamp", false),
    ] {
        let (mut all, mut path, mut pages) = (Vec::new(), Some(query.to_owned()), 0);
        while let Some(query) = path {
            let page = browser.page(&format!("/admin/stock/{query}")).await;
            assert_eq!(page.contains("· 120 in all"), counted, "{query}");
            all.extend(listed(&page));
            (path, pages) = (link(&page, "next"), pages + 1);
        }
        if query == "?q=lamp" {
            // By product, then by store.
            by_store.sort_unstable();
        }
        assert_eq!((pages, &all), (3, &by_store), "{query}");
    }
}

#[tokio::test]
async fn ledger_is_paginated() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let id = app.stock(store, lamp, 0).await;
    execute(
        &app,
        "insert into stock_movement (inventory_id, kind, delta, quantity_after, reason)
         select (select id from inventory), 'ADJUSTMENT', 1, n, 'reason ' || n from generate_series(1, 120) n",
    )
    .await;
    let mut browser = browser(&app, Role::Viewer).await;
    let reasons = |page: &str| -> Vec<i64> {
        let reasons = page.split("<td class=\"more\">reason ").skip(1);
        reasons
            .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
            .collect()
    };
    let path = format!("/admin/stock/{id}/");
    let first = browser.page(&path).await;
    let second = browser
        .page(&format!("{path}{}", link(&first, "next").unwrap()))
        .await;
    let third = browser
        .page(&format!("{path}{}", link(&second, "next").unwrap()))
        .await;
    let all = [reasons(&first), reasons(&second), reasons(&third)].concat();
    assert!(all.into_iter().eq((1..=120).rev()));
    assert_eq!(link(&third, "next"), None);
    let back = browser
        .page(&format!("{path}{}", link(&third, "prev").unwrap()))
        .await;
    assert_eq!(reasons(&back), reasons(&second));
}

#[tokio::test]
async fn stock_is_created_and_deleted() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let mut browser = browser(&app, Role::Staff).await;
    let page = browser
        .page(&format!("/admin/stock/new/?store_id={store}&q=lamp&quantity=4"))
        .await;
    assert!(
        page.contains(&format!(r#"name="product_id" value="{lamp}""#)),
        "{page}"
    );
    let (store_id, product_id) = (store.to_string(), lamp.to_string());
    let fields = [
        ("store_id", store_id.as_str()),
        ("product_id", &product_id),
        ("quantity", "4"),
        ("low_stock_threshold", ""),
    ];
    let answer = browser.post("/admin/stock/new/", &fields).await;
    let there = answer.header("location").to_owned();
    assert!(there.ends_with('/'), "{}", answer.text);
    let taken = browser.post("/admin/stock/new/", &fields).await;
    assert_eq!(taken.status, 400);
    assert!(taken.text.contains("must make a unique set"), "{}", taken.text);
    let missing = browser
        .post("/admin/stock/new/", &[("store_id", &store_id)])
        .await;
    assert!(
        missing.status == 400
            && missing.text.contains("Search for a product and choose it.")
            && !missing.text.contains("Choose a store."),
        "{}",
        missing.text
    );

    let path = format!("{there}delete/");
    let question = browser.page(&path).await;
    assert!(
        question.contains("Also removes the stock: 4 units."),
        "{question}"
    );
    assert_eq!(browser.post(&path, &[]).await.header("location"), "/admin/stock/");
    assert_eq!(browser.post(&path, &[]).await.status, 404);
    assert_eq!(count(&app, "select count(*) from inventory").await, 0);
}

#[tokio::test]
async fn chosen_product_stays_chosen_during_a_search() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let chair = app.product("Chair", "2.50").await;
    let mut browser = browser(&app, Role::Staff).await;
    let page = browser
        .page(&format!("/admin/stock/new/?product_id={lamp}"))
        .await;
    let chosen = format!(r#"value="{lamp}" required checked"#);
    assert!(page.contains(&chosen), "{page}");
    for search in ["chair", "lamp", "nothing", ""] {
        let path = format!("/admin/stock/new/products/?store_id={store}&q={search}&product_id={lamp}");
        let part = browser.page(&path).await;
        assert_eq!(part.matches(&chosen).count(), 1, "{search}: {part}");
        let found = format!(r#"value="{chair}" required>"#);
        assert_eq!(part.contains(&found), search == "chair", "{search}: {part}");
        assert_eq!(
            part.contains("No other active product"),
            search == "nothing" || search == "lamp",
            "{search}: {part}"
        );
    }
    app.stock(store, lamp, 1).await;
    let page = browser
        .page(&format!("/admin/stock/new/?product_id={lamp}&store_id={store}"))
        .await;
    assert!(
        page.contains("already in this store")
            && !page.contains(&chosen)
            && page.contains(&format!(r#"type="hidden" name="product_id" value="{lamp}""#)),
        "{page}"
    );
}

#[tokio::test]
async fn stock_page_links_to_its_audit_log_for_permitted_accounts() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let id = app.stock(store, lamp, 5).await;
    account(&app, "bound", Role::Staff, Some(vec![store])).await;
    let path = format!("/admin/stock/{id}/");
    let history = format!("/admin/audit/?subject=stock%3A{id}");
    let page = browser(&app, Role::Viewer).await.page(&path).await;
    assert!(
        page.contains(&history) && page.contains("stock.created"),
        "{page}"
    );
    let page = Browser::log_in(&app, "bound").await.page(&path).await;
    assert!(!page.contains("/admin/audit/"), "{page}");
}

#[tokio::test]
async fn list_beyond_10000_rows_says_what_it_leaves_out() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let light = app.category("Light").await;
    execute(
        &app,
        "insert into product (title, price, category_id) select 'Lamp ' || lpad(n::text, 5, '0'), 1, (select id from category)
         from generate_series(1, 10001) n",
    )
    .await;
    execute(
        &app,
        "insert into inventory (store_id, product_id) select s.id, p.id from store s, product p
         where s.name = 'Here' or p.title = 'Lamp 10001'",
    )
    .await;
    let mut browser = browser(&app, Role::Viewer).await;
    let (of_products, of_rows) = (
        "Only the first 10,000 products by title are searched: narrow the search.",
        "Only the first 10,000 rows are listed: narrow the search.",
    );
    for filter in [format!("category={light}"), "q=lamp".to_owned()] {
        let page = browser
            .page(&format!("/admin/stock/?{filter}&store={there}"))
            .await;
        assert_eq!(listed(&page), ["Lamp 10001 @ There"], "{filter}");
        assert!(!page.contains("Only the first"), "{filter}");
        let page = browser.page(&format!("/admin/stock/?{filter}")).await;
        assert!(page.contains(of_products), "{filter}");
        let store = format!("/admin/stock/?{filter}&store={here}");
        let last = browser.page(&format!("{store}&page=199")).await;
        let last = browser
            .page(&format!("/admin/stock/{}", link(&last, "next").unwrap()))
            .await;
        assert_eq!(listed(&last).last().unwrap(), "Lamp 10000 @ Here", "{filter}");
        assert!(last.contains(of_rows) && last.contains("Page 200"), "{last}");
        assert_eq!(link(&last, "next"), None);
        let beyond = browser.page(&format!("{store}&page=202")).await;
        assert_eq!(link(&beyond, "next"), None);
        assert!(link(&beyond, "prev").unwrap().ends_with("&page=199"));
    }
}

#[tokio::test]
async fn stock_is_found_by_code_and_shows_sku_and_balances() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 10).await;
    app.stock(store, app.product("Chair", "75.00").await, 3).await;
    let codes = json!({ "sku": "LA-1", "barcodes": [{ "code": "8712" }] });
    app.patch(&format!("/api/products/{lamp}/"), &codes).await;
    for code in ["LA-1", "8712"] {
        let html = desk.html(&format!("/admin/stock/?q={code}")).await;
        assert_eq!(listed(&html), ["Lamp @ Main"], "{code}");
    }
    let html = desk.html("/admin/stock/1/").await;
    assert!(html.contains("<dd>LA-1</dd>"), "{html}");
    assert!(
        !html.contains("Reserved") && !html.contains("Committed"),
        "{html}"
    );
    sqlx::query("update inventory set reserved = 4, committed = 2 where id = 1")
        .execute(&app.pool)
        .await
        .unwrap();
    let html = desk.html("/admin/stock/1/").await;
    assert!(html.contains("<dt>Reserved</dt><dd>4</dd>"), "{html}");
    assert!(html.contains("<dt>Committed</dt><dd>2</dd>"), "{html}");
}
