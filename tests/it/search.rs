//! `/api/products/search/`

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::json;

use crate::support::{app::TestApp, locks::waiting_for_locks, program::eventually};

const SEARCH: &str = "/api/products/search/";

/// The titles that a query string finds.
async fn found(app: &TestApp, query: &str) -> Vec<String> {
    let answer = app.get(&format!("{SEARCH}?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    let titles = answer.column("title");
    titles
        .iter()
        .map(|title| title.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn search_rows_have_no_timestamps_and_omit_inactive_products() {
    let app = TestApp::start().await;
    app.get(SEARCH)
        .await
        .is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
    let category = app.category("Lights").await;
    for title in ["b", "a", "B", "a"] {
        app.product_in(category, title, "4.5").await;
    }
    app.patch("/api/products/3/", &json!({ "is_active": false }))
        .await;
    app.get(SEARCH).await.is_text(
        200,
        concat!(
            r#"{"count":3,"next":null,"previous":null,"results":["#,
            r#"{"id":2,"title":"a","description":"","price":"4.50","category":{"id":1,"name":"Lights"},"is_active":true,"sku":null},"#,
            r#"{"id":4,"title":"a","description":"","price":"4.50","category":{"id":1,"name":"Lights"},"is_active":true,"sku":null},"#,
            r#"{"id":1,"title":"b","description":"","price":"4.50","category":{"id":1,"name":"Lights"},"is_active":true,"sku":null}]}"#
        ),
    );
}

#[tokio::test]
async fn q_matches_title_description_or_category_name_in_any_case() {
    let app = TestApp::start().await;
    let (lights, rugs) = (
        app.category("Bright Lights").await,
        app.category("Straße_7").await,
    );
    for (category, title, description) in [
        (lights, "Desk Lamp", "for READING at night"),
        (rugs, "Ölteppich", r"100% wool, back\slash"),
        (rugs, "Rug under_score", ""),
    ] {
        let body =
            json!({ "title": title, "description": description, "price": "1", "category_id": category });
        app.post("/api/products/", &body).await.created();
    }
    let (lamp, oil, rug) = ("Desk Lamp", "Ölteppich", "Rug under_score");
    let cases: &[(&str, &[&str])] = &[
        ("q=lamp", &[lamp]),
        ("q=LAMP", &[lamp]),
        ("q=reading", &[lamp]),
        ("q=right%20l", &[lamp]),
        ("q=%20%20desk+lamp%09", &[lamp]),
        ("q=lamp+desk", &[]),
        ("q=desk++lamp", &[lamp]),
        ("q=%C3%B6LT", &[oil]),
        ("q=STRASSE", &[rug, oil]),
        ("q=%25", &[oil]),
        ("q=_", &[rug, oil]),
        ("q=r_s", &[rug]),
        ("q=d_s", &[]),
        ("q=%5C", &[oil]),
        ("q=k%5Cs", &[oil]),
        ("q=", &[lamp, rug, oil]),
        ("q=+%20%09", &[lamp, rug, oil]),
        ("q=zzz&q=lamp", &[lamp]),
        ("q=lamp&q=", &[lamp, rug, oil]),
        ("Q=lamp", &[lamp, rug, oil]),
        ("q='%20or%201=1--", &[]),
        ("q=%FF", &[]),
    ];
    for (query, titles) in cases {
        assert_eq!(found(&app, query).await, *titles, "{query}");
    }
    let long = "lamp".repeat(1500);
    assert!(found(&app, &format!("q={long}")).await.is_empty());
}

#[tokio::test]
async fn price_bounds_accept_numbers_and_ignore_everything_else() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    for (title, price) in [("a", "5.00"), ("b", "10.00"), ("c", "20.01")] {
        app.product_in(category, title, price).await;
    }
    let cases: &[(&str, &[&str])] = &[
        ("min_price=10", &["b", "c"]),
        ("max_price=10.00", &["a", "b"]),
        ("min_price=10&max_price=10", &["b"]),
        ("min_price=20&max_price=5", &[]),
        ("min_price=1e1", &["b", "c"]),
        ("min_price=%2010", &["b", "c"]),
        ("min_price=%2B10", &["b", "c"]),
        ("min_price=+10", &["b", "c"]),
        ("min_price=-5", &["a", "b", "c"]),
        ("min_price=10.&max_price=.2e2", &["b"]),
        ("min_price=0010.0&max_price=%2B1.e1", &["b"]),
        ("max_price=-.5", &[]),
        ("max_price=-5", &[]),
        ("max_price=0", &[]),
        ("max_price=0e999", &[]),
        ("max_price=1e-400", &[]),
        ("min_price=1e20", &[]),
        ("max_price=1e20", &["a", "b", "c"]),
        ("min_price=20.010", &["c"]),
        ("min_price=99&min_price=20", &["c"]),
        ("min_price=20&min_price=", &["a", "b", "c"]),
    ];
    for (query, titles) in cases {
        assert_eq!(found(&app, query).await, *titles, "{query}");
    }
    for ignored in [
        "abc",
        "1,5",
        "0x10",
        "",
        "%00",
        "10%00",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e400",
        "1e9999999999999999999",
        ".",
        "e5",
        "--5",
        "1_0",
        "%D9%A3",
    ] {
        for bound in ["min_price", "max_price"] {
            let query = format!("{bound}={ignored}");
            assert_eq!(found(&app, &query).await, ["a", "b", "c"], "{query}");
        }
    }
}

#[tokio::test]
async fn store_filter_needs_stock_and_category_filter_needs_membership() {
    let app = TestApp::start().await;
    let (one, two) = (app.category("One").await, app.category("Two").await);
    let store = app.store("Main").await;
    let (a, b) = (
        app.product_in(one, "a", "1").await,
        app.product_in(two, "b", "1").await,
    );
    app.product_in(two, "c", "1").await;
    app.stock(store, a, 0).await;
    app.stock(store, b, 1).await;
    let all: &[&str] = &["a", "b", "c"];
    let huge = "9".repeat(400);
    let far = format!("category_id={huge}");
    let cases: &[(&str, &[&str])] = &[
        ("store_id=1", &["b"]),
        ("store_id=%201", &["b"]),
        ("category_id=2", &["b", "c"]),
        ("category_id=002&store_id=1", &["b"]),
        ("category_id=1&category_id=2", &["b", "c"]),
        ("category_id=1&q=two", &[]),
        ("store_id=", all),
        ("category_id=", all),
        ("store_id=7", &[]),
        ("store_id=0", &[]),
        ("store_id=-1", &[]),
        ("store_id=9223372036854775808", &[]),
        (&far, &[]),
    ];
    for (query, titles) in cases {
        assert_eq!(found(&app, query).await, *titles, "{query}");
    }
    app.patch("/api/stores/1/", &json!({ "is_active": false })).await;
    assert_eq!(
        found(&app, "store_id=1").await,
        ["b"],
        "the store may be inactive"
    );
}

#[tokio::test]
async fn non_integer_id_or_null_character_is_rejected_with_400() {
    let app = TestApp::start().await;
    for id in ["abc", "1.0", "1e3", "1_0", "%D9%A3", "%00", "1%00", "%20", "true"] {
        for (query, fields) in [
            (
                format!("store_id={id}"),
                r#"{"store_id":["A valid integer is required."]}"#,
            ),
            (
                format!("category_id={id}"),
                r#"{"category_id":["A valid integer is required."]}"#,
            ),
            (
                format!("category_id={id}&store_id={id}&page=7"),
                r#"{"store_id":["A valid integer is required."],"category_id":["A valid integer is required."]}"#,
            ),
        ] {
            app.get(&format!("{SEARCH}?{query}")).await.is_text(400, fields);
        }
    }
    app.get(&format!("{SEARCH}?q=a%00"))
        .await
        .is_text(400, r#"{"q":["Null characters are not allowed."]}"#);
    app.get(&format!("{SEARCH}?unknown=%00"))
        .await
        .is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
}

#[tokio::test]
async fn search_results_are_paginated() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    for number in 0..25 {
        app.product_in(category, &format!("Lamp {number:02}"), "1").await;
    }
    let host = format!("http://{}", app.address);
    let first = app.get(&format!("{SEARCH}?q=lamp&store_id=&min_price=0.5")).await;
    assert_eq!(first.body["count"], 25);
    assert_eq!(first.column("title")[19], "Lamp 19");
    assert_eq!(
        first.body["next"],
        format!("{host}{SEARCH}?min_price=0.5&page=2&q=lamp&store_id=")
    );
    let last = app.get(&format!("{SEARCH}?q=lamp&page=last")).await;
    assert_eq!(last.column("title")[0], "Lamp 20");
    assert_eq!(last.body["previous"], format!("{host}{SEARCH}?q=lamp"));
    for page in ["3", "9223372036854775807", "0", "x"] {
        for query in ["q=lamp&page=", "page="] {
            app.get(&format!("{SEARCH}?{query}{page}"))
                .await
                .is_text(404, r#"{"detail":"Invalid page."}"#);
        }
    }
    app.get(&format!("{SEARCH}?q=rug&page=1"))
        .await
        .is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_for_short_texts_run_one_at_a_time() {
    let app = TestApp::start().await;
    app.product("Lamp", "1").await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("lock table product in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    // One reads and sixteen wait; one is too many.
    let mut searches: FuturesUnordered<_> = (0..18).map(|_| app.get("/api/products/search/?q=zq")).collect();
    let refused = searches.next().await.unwrap();
    refused.is_text(
        503,
        r#"{"detail":"Too many searches for short texts are under way, try again later."}"#,
    );
    assert_eq!(refused.header("retry-after"), "1");
    eventually("a search waits for the table", async || {
        waiting_for_locks(&app.pool).await > 0
    })
    .await;
    let reading = waiting_for_locks(&app.pool).await;
    assert_eq!(reading, 1, "waiting searches hold no connection");
    assert_eq!(app.get("/api/categories/").await.status, 200);
    lock.rollback().await.unwrap();
    while let Some(answer) = searches.next().await {
        answer.is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
    }
    assert_eq!(app.get("/api/products/search/?q=la").await.body["count"], 1);
}
