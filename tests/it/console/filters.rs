//! Filters of lists: what cannot be read is said at its control, and no list passes for what was asked for.

use afforo::auth::{Role, Stores};
use serde_json::json;

use super::{
    Browser, Desk, account, browser, execute,
    orders::{link, listed, placed, shop},
    text_of,
};
use crate::support::app::TestApp;

/// A server with something in each list.
async fn app() -> TestApp {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "50.00").await);
    app.stock(store, product, 5).await;
    app.order(store, &[(product, 1)]).await.created();
    app
}

/// Lists, each with what its rows have, filters that cannot be read and have a control, and ones that have none.
const LISTS: [(&str, &str, &[&str], &[&str]); 10] = [
    (
        "products/",
        "<th scope=\"row\"",
        &[
            "max_price=1,000,00",
            "min_price=abc",
            "min_price=1e400",
            "state=gone",
            "category=abc",
            "category=99999999999999999999",
        ],
        &["page=abc"],
    ),
    ("categories/", "<th scope=\"row\"", &[], &["page=1.5"]),
    ("stores/", "<th scope=\"row\"", &["state=open"], &["page=x"]),
    (
        "stock/",
        "<th scope=\"row\"",
        &["store=abc", "store=1.0", "category=x", "state=few"],
        &["page=x"],
    ),
    (
        "stock/1/",
        "Opening stock",
        &[],
        &["start=x", "start=99999999999999999999"],
    ),
    (
        "orders/",
        "<th scope=\"row\"",
        &[
            "from=2026-13-01",
            "to=30.11.2026",
            "from=99999-01-01",
            "store=Main",
            "status=confirmed",
        ],
        &["from_moment=now", "start=x", "page=x"],
    ),
    (
        "audit/",
        "href=\"/admin/audit/1/\"",
        &["from=2026-02-30", "to=today", "to=-9999-01-01"],
        &["below=x"],
    ),
    ("jobs/list/", "", &["queue=unknown"], &["state=lost"]),
    (
        "access/",
        "<td class=\"wide title\"",
        &["role=king", "state=x"],
        &["page=x"],
    ),
    ("access/keys/", "afk_", &[], &["page=x"]),
];

#[tokio::test]
async fn invalid_filter_is_reported_and_lists_nothing() {
    let app = app().await;
    app.key(&[], Stores::All).await;
    let desk = Desk::of(&app, "superuser", None).await;
    for (list, row, filters, others) in LISTS {
        let whole = desk.html(&format!("/admin/{list}")).await;
        assert!(whole.contains(row) && !whole.contains("cannot be read"), "{list}");
        for filter in filters.iter().chain(others) {
            let page = desk.html(&format!("/admin/{list}?{filter}")).await;
            assert!(
                page.contains("Nothing is listed, because a filter cannot be read."),
                "{list}?{filter}: {page}"
            );
            assert!(row.is_empty() || !page.contains(row), "{list}?{filter}: {page}");
            let (name, value) = filter.split_once('=').unwrap();
            let said = format!("{name}: “{value}” cannot be read: ");
            assert!(text_of(&page).contains(&said), "{list}?{filter}: {page}");
            let marked = format!(r#" aria-invalid="true" aria-describedby="{name}-error""#);
            assert_eq!(
                page.contains(&marked),
                filters.contains(filter),
                "{list}?{filter}"
            );
            assert_eq!(
                page.contains(&format!(r#"id="{name}-error""#)),
                filters.contains(filter),
                "{list}?{filter}"
            );
        }
        // What cannot be read empties the list whatever else is asked for.
        if let [first, ..] = filters {
            let page = desk.html(&format!("/admin/{list}?{first}&q=a&sort=-name")).await;
            assert!(page.contains("Nothing is listed"), "{list}");
        }
    }
}

#[tokio::test]
async fn invalid_filter_value_is_kept_and_escaped() {
    let app = app().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let page = desk
        .html("/admin/products/?max_price=%3Cb%3E50,00&min_price=1")
        .await;
    assert!(page.contains(r#"value="&#60;b&#62;50,00""#), "{page}");
    assert!(page.contains(r#"value="1""#) && !page.contains("<b>50"), "{page}");
    assert!(page.contains("write an amount like 50.00"), "{page}");
    // A control for days would show nothing of it.
    let page = desk.html("/admin/orders/?from=2026-13-01&to=2026-11-30").await;
    for control in [
        r#"name="from" type="text" value="2026-13-01""#,
        r#"name="to" type="date" value="2026-11-30""#,
    ] {
        assert!(page.contains(control), "{control}: {page}");
    }
    let long = "x".repeat(5000);
    let page = desk.html(&format!("/admin/stock/?store={long}")).await;
    assert!(page.len() < 40_000, "it is quoted in part: {}", page.len());
}

#[tokio::test]
async fn export_and_stream_reject_an_invalid_filter_with_400() {
    let app = app().await;
    let desk = Desk::of(&app, "viewer", None).await;
    for (path, name) in [
        ("orders/export/?from=2026-13-01", "from"),
        ("orders/export/?status=CONFIRMED&store=abc", "store"),
        ("orders/live/?to=abc", "to"),
        ("orders/live/?since=abc", "since"),
    ] {
        let answer = desk.get(&format!("/admin/{path}")).await;
        assert_eq!(answer.status, 400, "{path}");
        let said = format!("{name}: “");
        assert!(answer.text.contains(&said), "{path}: {}", answer.text);
    }
    let list = desk.html("/admin/orders/?from=2026-13-01").await;
    assert!(
        !list.contains("/orders/export/") && !list.contains("/orders/live/"),
        "{list}"
    );
}

#[tokio::test]
async fn bulk_action_or_order_with_an_invalid_id_is_rejected_with_400() {
    let app = app().await;
    let desk = Desk::of(&app, "superuser", None).await;
    let other = app.product("Chair", "1.00").await.to_string();
    let fields = [
        ("of", "products"),
        ("do", "delete"),
        ("id", &other),
        ("id", "abc"),
    ];
    assert_eq!(desk.post("/admin/selected/", &fields).await.status, 400);
    let asked = format!("/admin/selected/?of=products&do=delete&id={other}&id=abc");
    assert_eq!(desk.get(&asked).await.status, 400);
    let many = format!("/admin/selected/?of=products&do=delete{}", "&id=1".repeat(101));
    assert_eq!(desk.get(&many).await.status, 400);
    assert_eq!(app.get(&format!("/api/products/{other}/")).await.status, 200);

    let order = [
        ("store", "1"),
        ("product", "1"),
        ("quantity", "1"),
        ("product", "abc"),
        ("quantity", "2"),
        ("idempotency_key", "one"),
    ];
    assert_eq!(desk.post("/admin/orders/new/", &order).await.status, 400);
    let drawn = "/admin/orders/new/?store=1&product=abc&quantity=1&product=1&quantity=2";
    assert_eq!(desk.get(drawn).await.status, 400);
    assert_eq!(app.get("/api/orders/").await.body["count"], json!(1));
}

#[tokio::test]
async fn number_finds_the_order_and_orders_of_stores_named_so() {
    let app = TestApp::start().await;
    let shop = shop(&app).await;
    execute(&app, "alter table orders alter id restart with 1001").await;
    let named = app.store("Depot 1001 North").await;
    app.stock(named, shop.product, 100).await;
    let first = placed(&app, shop.here, shop.product, 1).await;
    assert_eq!(first, 1001);
    let mut of_depot = Vec::new();
    for _ in 0..60 {
        of_depot.insert(0, placed(&app, named, shop.product, 1).await);
    }
    let refused = placed(&app, named, shop.product, 1000).await;
    let last = placed(&app, shop.there, shop.product, 1).await;
    let mut browser = browser(&app, Role::Viewer).await;
    let both = [vec![refused], of_depot.clone(), vec![first]].concat();
    let mut backwards = both.clone();
    backwards.reverse();
    for (query, expected) in [
        ("?q=1001".to_owned(), both.clone()),
        ("?q=1001&sort=placed".to_owned(), backwards),
        ("?q=%231001".to_owned(), vec![first]),
        (format!("?q=1001&store={}", shop.here), vec![first]),
        (format!("?q=1001&store={}", shop.there), vec![]),
        ("?q=1001&status=REJECTED".to_owned(), vec![refused]),
        (format!("?q=1001&status=CONFIRMED&store={named}"), of_depot),
        (format!("?q={last}"), vec![last]),
        ("?q=1001&to=2020-01-01".to_owned(), vec![]),
        ("?q=1001&from=2020-01-01".to_owned(), both.clone()),
    ] {
        let (mut all, mut path) = (Vec::new(), Some(query.clone()));
        while let Some(query) = path {
            let page = browser.page(&format!("/admin/orders/{query}")).await;
            all.extend(listed(&page));
            path = link(&page, "next");
        }
        assert_eq!(all, expected, "{query}");
        let file = browser.page(&format!("/admin/orders/export/{query}")).await;
        assert_eq!(file.lines().count(), expected.len() + 1, "{query}");
    }
    account(&app, "bound", Role::Staff, Some(vec![named])).await;
    let mut bound = Browser::log_in(&app, "bound").await;
    let page = bound.page("/admin/orders/?q=1001&status=REJECTED").await;
    assert_eq!(listed(&page), [refused]);
    let page = bound.page(&format!("/admin/orders/?q={last}")).await;
    assert_eq!(listed(&page), Vec::<i64>::new());
}
