//! Orders in the console: the list and its filters, the file, and one order.

use afforo::auth::Role;
use serde_json::json;

use super::{Browser, account, browser, execute};
use crate::support::app::TestApp;

/// The orders of a page of the list, from top to bottom.
pub fn listed(page: &str) -> Vec<i64> {
    let ids = page.split(r#"<tr id="order-"#).skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

/// Where a link of the pager leads.
pub fn link(page: &str, rel: &str) -> Option<String> {
    let link = page.split(&format!(r#"rel="{rel}" href=""#)).nth(1)?;
    Some(link.split('"').next().unwrap().replace("&#38;", "&"))
}

/// Two stores, one with ten pieces of a product.
pub struct Shop {
    pub here: i64,
    pub there: i64,
    pub product: i64,
    pub stock: i64,
}

pub async fn shop(app: &TestApp) -> Shop {
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let product = app.product("Lamp", "2.50").await;
    let stock = app.stock(here, product, 10).await;
    app.stock(there, product, 10).await;
    Shop {
        here,
        there,
        product,
        stock,
    }
}

pub async fn placed(app: &TestApp, store: i64, product: i64, quantity: i64) -> i64 {
    let answer = app.order(store, &[(product, quantity)]).await;
    answer.body["id"].as_i64().unwrap()
}

#[tokio::test]
async fn list_filters_by_status_store_day_number_and_name() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let first = placed(&app, shop.here, shop.product, 1).await;
    let refused = placed(&app, shop.here, shop.product, 100).await;
    let other = placed(&app, shop.there, shop.product, 1).await;
    execute(
        &app,
        "update orders set created_at = '2024-02-29 23:59:59Z' where id = (select min(id) from orders)",
    )
    .await;
    let mut browser = browser(&app, Role::Viewer).await;
    for (query, expected) in [
        (String::new(), vec![other, refused, first]),
        ("?sort=placed".to_owned(), vec![first, refused, other]),
        ("?status=REJECTED".to_owned(), vec![refused]),
        (format!("?store={}", shop.here), vec![refused, first]),
        (format!("?store={}&status=CONFIRMED", shop.here), vec![first]),
        ("?from=2024-02-29&to=2024-02-29".to_owned(), vec![first]),
        ("?to=2024-02-28".to_owned(), vec![]),
        ("?from=9999-12-31&to=9999-12-31".to_owned(), vec![]),
        ("?from=2024-03-01".to_owned(), vec![other, refused]),
        (format!("?from=2024-03-01&store={}", shop.here), vec![refused]),
        (format!("?q=%23{refused}"), vec![refused]),
        (format!("?q={refused}"), vec![refused]),
        ("?q=99999999999999999999999".to_owned(), vec![]),
        ("?q=tHER".to_owned(), vec![other]),
        ("?q=%25".to_owned(), vec![]),
    ] {
        let page = browser.page(&format!("/admin/orders/{query}")).await;
        assert_eq!(listed(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_both_directions_without_a_gap() {
    let app = TestApp::start().await;
    shop(&app).await;
    execute(
        &app,
        "insert into orders (store_id, status) select (select min(id) from store), 'REJECTED' from generate_series(1, 120)",
    )
    .await;
    let mut browser = browser(&app, Role::Viewer).await;
    for (query, from_the_oldest) in [("", false), ("?sort=placed", true), ("?q=here", false)] {
        let mut pages = Vec::new();
        let mut path = Some(query.to_owned());
        let mut last = String::new();
        while let Some(query) = path {
            last = browser.page(&format!("/admin/orders/{query}")).await;
            path = link(&last, "next");
            pages.push(listed(&last));
        }
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [50, 50, 20], "{query}");
        let mut all = pages.concat();
        if from_the_oldest {
            all.reverse();
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1] + 1), "{query}");
        assert!(last.contains("Page 3 of 3 · 120 in all"), "{query}");

        let back = browser
            .page(&format!("/admin/orders/{}", link(&last, "prev").unwrap()))
            .await;
        assert_eq!(listed(&back), pages[1], "{query}");
        let back = browser
            .page(&format!("/admin/orders/{}", link(&back, "prev").unwrap()))
            .await;
        assert_eq!(listed(&back), pages[0], "{query}");
        assert_eq!(link(&back, "prev"), None, "{query}");
    }
}

#[tokio::test]
async fn account_bound_to_a_store_sees_its_orders_only() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let mine = placed(&app, shop.here, shop.product, 1).await;
    let other = placed(&app, shop.there, shop.product, 1).await;
    account(&app, "bound", Role::Staff, Some(vec![shop.here])).await;
    let mut browser = Browser::log_in(&app, "bound").await;
    for query in ["", "?status=CONFIRMED", "?q=here", "?from=2020-01-01"] {
        assert_eq!(
            listed(&browser.page(&format!("/admin/orders/{query}")).await),
            [mine],
            "{query}"
        );
    }
    for query in [
        format!("?store={}", shop.there),
        format!("?q={other}"),
        "?q=there".to_owned(),
    ] {
        let page = browser.page(&format!("/admin/orders/{query}")).await;
        assert_eq!(listed(&page), Vec::<i64>::new(), "{query}");
        assert!(!page.contains(">There<"), "{query}");
        let file = browser.page(&format!("/admin/orders/export/{query}")).await;
        assert_eq!(file.lines().count(), 1, "{query}");
    }
    for path in [
        format!("{other}/"),
        format!("{other}/json/"),
        "0/".into(),
        "x/".into(),
        "99999999999999999999/json/".into(),
    ] {
        assert_eq!(
            browser.get(&format!("/admin/orders/{path}")).await.status,
            404,
            "{path}"
        );
    }
    assert_eq!(
        browser.get(&format!("/admin/orders/{mine}/json/")).await.body["id"],
        mine
    );

    let form = browser
        .page(&format!("/admin/orders/new/?store={}&q=lamp", shop.there))
        .await;
    assert!(
        !form.contains("value=\"There\"") && form.contains("Lamp"),
        "{form}"
    );
    let (store, product) = (shop.there.to_string(), shop.product.to_string());
    let fields = [
        ("store", store.as_str()),
        ("product", &product),
        ("quantity", "1"),
    ];
    assert_eq!(browser.post("/admin/orders/new/", &fields).await.status, 404);
}

#[tokio::test]
async fn export_has_the_filtered_list_and_escapes_formulas() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let evil = app.store("=HYPERLINK(\"x\")").await;
    app.stock(evil, shop.product, 5).await;
    placed(&app, shop.here, shop.product, 1).await;
    let bought = placed(&app, evil, shop.product, 2).await;
    let refused = placed(&app, evil, shop.product, 9).await;
    execute(&app, "update orders set created_at = '2024-02-29 12:00:00Z'").await;
    execute(
        &app,
        "update orders set rejection_reason = '-1+cmd' where status = 'REJECTED'",
    )
    .await;
    let mut browser = browser(&app, Role::Viewer).await;
    let export = format!("/admin/orders/export/?store={evil}");
    let answer = browser.get(&export).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let name = answer.header("content-disposition");
    assert!(
        name.starts_with("attachment; filename=\"orders-20") && name.ends_with(".csv\""),
        "{name}"
    );
    assert_eq!(
        // Excel would take it for the machine's own encoding without the mark.
        answer.text,
        format!(
            "\u{feff}order,store_id,store,status,items,total,placed_at,rejection_reason\r\n\
             {refused},{evil},\"'=HYPERLINK(\"\"x\"\")\",REJECTED,0,0.00,2024-02-29T12:00:00Z,'-1+cmd\r\n\
             {bought},{evil},\"'=HYPERLINK(\"\"x\"\")\",CONFIRMED,1,5.00,2024-02-29T12:00:00Z,\r\n"
        )
    );
}

#[tokio::test]
async fn export_has_the_whole_of_a_long_list() {
    let app = TestApp::start().await;
    shop(&app).await;
    execute(
        &app,
        "insert into orders (store_id, status) select (select min(id) from store), 'REJECTED' from generate_series(1, 2500)",
    )
    .await;
    let mut browser = browser(&app, Role::Viewer).await;
    for (query, first) in [("", 2500), ("?sort=placed", 1)] {
        let file = browser.page(&format!("/admin/orders/export/{query}")).await;
        let mut orders: Vec<i64> = file
            .lines()
            .skip(1)
            .map(|line| line.split(',').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!((orders.len(), orders[0]), (2500, first), "{query}");
        orders.sort_unstable();
        assert!(orders.into_iter().eq(1..=2500), "{query}");
    }
}

#[tokio::test]
async fn order_page_shows_its_confirmation_and_deliveries() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let bought = placed(&app, shop.here, shop.product, 3).await;
    let mut browser = browser(&app, Role::Viewer).await;
    let path = format!("/admin/orders/{bought}/");
    let page = browser.page(&path).await;
    for text in [
        "Lamp",
        ">2.50<",
        ">7.50<",
        "Confirmation pending",
        "Here",
        "Confirmed",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    execute(
        &app,
        "update outbox set dead_at = now(), handouts = 11, error = 'no <b>way</b>'",
    )
    .await;
    let page = browser.page(&path).await;
    assert!(
        page.contains("Confirmation failed") && page.contains("Attempted 11 times. No &#60;b&#62;way"),
        "{page}"
    );
    execute(
        &app,
        "insert into order_confirmation (order_id) select unnest(order_ids) from outbox",
    )
    .await;
    execute(
        &app,
        "insert into delivery (order_id, channel, attempts, error, due_at, delivered_at, dead_at)
         select o, c.name, c.sent, c.error, case when c.name = 'email' then now() end, null, case when c.name = 'webhook' then now() end
         from outbox, unnest(order_ids) o, (values ('email', 2, 'busy'), ('webhook', 10, 'gone')) as c (name, sent, error)",
    )
    .await;
    let page = browser.page(&path).await;
    for text in [
        "Confirmation sent",
        "Email will be retried",
        "Sent 2 times. Busy",
        "Webhook failed",
        "Sent 10 times. Gone",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let of_api = app.get(&format!("/api/orders/{bought}/")).await;
    assert_eq!(browser.get(&format!("{path}json/")).await.body, of_api.body);
}

#[tokio::test]
async fn rejected_order_links_to_the_stock_that_caused_it() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let stranger = app.product("Never kept", "1.00").await;
    let refused = placed(&app, shop.here, shop.product, 25).await;
    let strange = placed(&app, shop.here, stranger, 1).await;
    let unknown = placed(&app, shop.here, 999_999, 1).await;
    placed(&app, shop.here, shop.product, 4).await;
    let mut browser = browser(&app, Role::Viewer).await;
    let stock = format!("/admin/stock/{}/", shop.stock);
    for (order, texts) in [
        (
            refused,
            vec![
                "Lamp",
                ">25<",
                ">10<",
                ">6<",
                "Not enough in stock",
                stock.as_str(),
            ],
        ),
        (strange, vec!["Never kept", "Not sold in this store"]),
        (unknown, vec!["Product 999999", "Unknown or inactive product"]),
    ] {
        let page = browser.page(&format!("/admin/orders/{order}/")).await;
        for text in texts {
            assert!(page.contains(text), "{text}: {page}");
        }
    }
}

#[tokio::test]
async fn names_are_escaped_in_html() {
    let app = TestApp::start().await;
    let evil = "<script>alert(1)</script>";
    let store = app.store(evil).await;
    let product = app.product(&format!("{evil} lamp"), "1.00").await;
    app.stock(store, product, 5).await;
    let id = placed(&app, store, product, 1).await;
    placed(&app, store, product, 50).await;
    let mut browser = browser(&app, Role::Staff).await;
    let new = format!("/admin/orders/new/?store={store}&q=lamp&product={product}&quantity=%22%3E{evil}");
    for path in [
        "/admin/",
        "/admin/orders/",
        &format!("/admin/orders/?q={evil}"),
        &format!("/admin/orders/{id}/"),
        &new,
    ] {
        let page = browser.page(path).await;
        assert!(
            !page.contains(evil) && page.contains("&#60;script&#62;alert(1)"),
            "{path}: {page}"
        );
    }
}

#[tokio::test]
async fn search_by_store_name_finds_orders_of_all_matching_stores() {
    let app = TestApp::start().await;
    execute(
        &app,
        "insert into store (name, location) select 'Branch ' || lpad(n::text, 2, '0'), 'x' from generate_series(1, 60) n",
    )
    .await;
    execute(
        &app,
        "insert into orders (store_id, status, total_amount) select id, 'CONFIRMED', 1 from store where name like '%60'",
    )
    .await;
    let page = browser(&app, Role::Viewer)
        .await
        .page("/admin/orders/?q=branch")
        .await;
    assert_eq!(page.matches(r#"<tr id="order-"#).count(), 1, "{page}");
}

#[tokio::test]
async fn pages_show_what_clients_keep_with_an_order() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    let order = json!({
        "store_id": shop.here, "items": [{ "product_id": shop.product, "quantity": 1 }], "external_reference": "WEB-<1>",
        "customer": { "name": "Ada <b>", "email": "ada@example.com" }, "note": "Two\nlines", "metadata": { "channel": "<web>" },
    });
    let id = app.post("/api/orders/", &order).await.created();
    let mut browser = browser(&app, Role::Viewer).await;
    let list = browser.page("/admin/orders/").await;
    let page = browser.page(&format!("/admin/orders/{id}/")).await;
    let listed = ["WEB-&#60;1&#62;", "Ada &#60;b&#62;"];
    for text in listed
        .into_iter()
        .chain(["ada@example.com", "Two\nlines", "&#60;web&#62;"])
    {
        assert!(page.contains(text), "{text}: {page}");
        assert_eq!(list.contains(text), listed.contains(&text), "{text}: {list}");
    }
}
