//! Pages of lists, and the links between them.

use afforo::config::HttpSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, production, send};

const STORES: &str = "/api/stores/";

/// Fills every list with 41 rows: three pages.
async fn fill(app: &TestApp) {
    for insert in [
        "insert into category (name) select 'C' || n from generate_series(1, 41) n",
        "insert into product (title, price, category_id) select 'P' || n, 1, 1 from generate_series(1, 41) n",
        "insert into store (name, location) select 'S', 'L' from generate_series(1, 41) n",
        "insert into inventory (store_id, product_id) select 1, n from generate_series(1, 41) n",
        "insert into orders (store_id, status) select 1, 'REJECTED' from generate_series(1, 41) n",
    ] {
        sqlx::query(insert).execute(&app.pool).await.unwrap();
    }
}

#[tokio::test]
async fn every_list_has_pages_of_twenty_with_next_and_previous() {
    let app = TestApp::start().await;
    fill(&app).await;
    for path in [
        "/api/categories/",
        "/api/products/",
        "/api/products/search/",
        STORES,
        "/api/inventory/",
        "/api/orders/",
    ] {
        let url = format!("http://{}{path}", app.address);
        let (two, three) = (format!("{url}?page=2"), format!("{url}?page=3"));
        let mut ids = Vec::new();
        for (query, rows, next, previous) in [
            ("", 20, Some(&two), None),
            ("?page=2&page_size=5", 20, None, None),
            ("?page=3", 1, None, Some(&two)),
        ] {
            let page = app.get(&format!("{path}{query}")).await;
            assert_eq!(page.body["count"], 41);
            let keys: Vec<&String> = page.body.as_object().unwrap().keys().collect();
            assert_eq!(keys.len(), 4);
            assert_eq!(page.column("id").len(), rows, "{path}{query}");
            ids.extend(page.column("id"));
            if !query.contains("size") {
                assert_eq!(
                    (&page.body["next"], &page.body["previous"]),
                    (&json!(next), &json!(previous))
                );
            }
        }
        ids.sort_by_key(Value::as_i64);
        ids.dedup();
        assert_eq!(ids.len(), 41, "{path}: every row is on one page");
        let second = app.get(&format!("{path}?page=2")).await;
        assert_eq!(
            (&second.body["next"], &second.body["previous"]),
            (&json!(three), &json!(url))
        );
        let start = format!(r#"{{"count":41,"next":"{three}","previous":"{url}","results":[{{"#);
        assert!(second.text.starts_with(&start), "{}", second.text);
    }
}

#[tokio::test]
async fn page_is_a_number_from_one_or_last_and_otherwise_404() {
    let app = TestApp::start().await;
    app.get(&format!("{STORES}?page=last"))
        .await
        .is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
    app.get(&format!("{STORES}?page=2"))
        .await
        .is_text(404, r#"{"detail":"Invalid page."}"#);
    fill(&app).await;
    for (page, first) in [
        ("", 1),
        ("1", 1),
        ("002", 21),
        ("%202", 21),
        ("2%20", 21),
        ("+2", 21),
        ("%2B2", 21),
        ("last", 41),
        ("9&page=2", 21),
        ("2&page=", 1),
    ] {
        let answer = app.get(&format!("{STORES}?page={page}")).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.column("id")[0]),
            (200, &json!(first)),
            "{page}"
        );
    }
    let digits = "1".repeat(5000);
    for page in [
        "0",
        "-1",
        "-0",
        "4",
        "abc",
        "1.0",
        "1e0",
        "Last",
        "last%20",
        "1_0",
        "%D9%A1",
        "%00",
        "9223372036854775808",
        &digits,
        "%20",
    ] {
        app.get(&format!("{STORES}?page={page}"))
            .await
            .is_text(404, r#"{"detail":"Invalid page."}"#);
    }
}

#[tokio::test]
async fn links_repeat_the_parameters_sorted_and_encoded() {
    let app = TestApp::start().await;
    fill(&app).await;
    let url = format!("http://{}{STORES}", app.address);
    for (query, next) in [
        ("b=2&a=1", "a=1&b=2&page=2"),
        ("z=&a", "a=&page=2&z="),
        ("q=a%20b+c%2Bd", "page=2&q=a+b+c%2Bd"),
        ("q=%C3%A4/~*'()", "page=2&q=%C3%A4%2F~%2A%27%28%29"),
        ("q=2&q=1&&", "page=2&q=2&q=1"),
        ("Z=1&a=1&_=1", "Z=1&_=1&a=1&page=2"),
        ("page_size=1", "page=2&page_size=1"),
        ("%C3%A4=%3D%26", "page=2&%C3%A4=%3D%26"),
        ("page=1", "page=2"),
        ("page=7&page=1", "page=2"),
        ("=x", "=x&page=2"),
    ] {
        let page = app.get(&format!("{STORES}?{query}")).await;
        assert_eq!(page.body["next"], format!("{url}?{next}"), "{query}");
    }
    let second = app.get(&format!("{STORES}?page=2&b=&a=%20")).await;
    assert_eq!(second.body["previous"], format!("{url}?a=+&b="));
    let slashless = app.get("/api/stores?a=1").await;
    assert_eq!(slashless.body["next"], format!("{url}?a=1&page=2"));
}

#[tokio::test]
async fn links_use_the_requested_host_and_the_proxys_scheme() {
    let hosts = || HttpSettings {
        allowed_hosts: "*".parse().unwrap(),
        ..production()
    };
    let app = TestApp::start_with(hosts()).await;
    fill(&app).await;
    let next = async |headers: &[(&str, &str)]| {
        let mut request = app.request(Method::GET, STORES);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await.body["next"].as_str().unwrap().to_owned()
    };
    let host = ("host", "Shop.example:81");
    assert_eq!(next(&[host]).await, "http://Shop.example:81/api/stores/?page=2");
    for (header, value, scheme) in [
        ("x-forwarded-proto", "https", "https"),
        ("x-forwarded-proto", "http", "http"),
        ("x-forwarded-proto", "ftp", "http"),
        ("x-forwarded-proto", "HTTPS", "http"),
        ("x-forwarded-host", "evil.example", "http"),
        ("forwarded", "proto=https;host=evil.example", "http"),
    ] {
        assert_eq!(
            next(&[host, (header, value)]).await,
            format!("{scheme}://Shop.example:81/api/stores/?page=2"),
            "{header}: {value}"
        );
    }
}
