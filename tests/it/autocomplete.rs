//! `/api/products/autocomplete/` and its rate limit.

use afforo::config::HttpSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, production, send};

const AUTOCOMPLETE: &str = "/api/products/autocomplete/";
const TOO_SHORT: &str = r#"{"error":"Query must be at least 3 characters"}"#;

async fn limited() -> TestApp {
    TestApp::start_with(HttpSettings {
        rate_limit_enabled: true,
        ..production()
    })
    .await
}

fn limit_headers(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(reqwest::header::HeaderName::as_str);
    names.filter(|name| name.contains("ratelimit")).collect()
}

#[tokio::test]
async fn suggestions_are_a_bare_array_with_prices_as_numbers() {
    let app = TestApp::start().await;
    let category = app.category("Lamp things").await;
    for (title, price) in [
        ("Lamp B", "4.50"),
        ("lamp a", "10"),
        ("LAMPSHADE", "0.01"),
        ("A Lamp", "1"),
    ] {
        app.product_in(category, title, price).await;
    }
    let hidden = json!({ "title": "Lamp 0", "price": "1", "category_id": category, "is_active": false });
    app.post("/api/products/", &hidden).await.created();
    app.get(&format!("{AUTOCOMPLETE}?q=lam&page=7")).await.is_text(
        200,
        r#"[{"id":3,"title":"LAMPSHADE","price":0.01},{"id":1,"title":"Lamp B","price":4.5},{"id":2,"title":"lamp a","price":10.0}]"#,
    );
    app.get(&format!("{AUTOCOMPLETE}?q=xyz")).await.is_text(200, "[]");
}

#[tokio::test]
async fn q_is_a_literal_prefix_in_any_case() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    let titles = [
        "100% wool",
        "Straße",
        "snake_case",
        "Éclair",
        "日本語",
        "Lamp one",
        r"a\b c",
    ];
    for title in titles {
        app.product_in(category, title, "1").await;
    }
    for (query, found) in [
        ("100%25", Some("100% wool")),
        ("100_", None),
        ("%25%25%25", None),
        ("snake_", Some("snake_case")),
        ("snake%25", None),
        ("STRASS", Some("Straße")),
        ("%C3%A9cl", Some("Éclair")),
        ("%E6%97%A5%E6%9C%AC%E8%AA%9E", Some("日本語")),
        ("%20+lamp%20", Some("Lamp one")),
        ("lamp+one", Some("Lamp one")),
        ("one", None),
        (r"A%5CB", Some(r"a\b c")),
        ("zzz&q=lam", Some("Lamp one")),
    ] {
        let answer = app.get(&format!("{AUTOCOMPLETE}?q={query}")).await;
        let rows: Vec<&Value> = answer
            .body
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["title"])
            .collect();
        assert_eq!(rows, found.into_iter().collect::<Vec<_>>(), "{query}");
    }
}

#[tokio::test]
async fn fewer_than_three_characters_are_rejected_with_400() {
    let app = TestApp::start().await;
    for query in [
        "",
        "?q=",
        "?q=la",
        "?q=+la+",
        "?q=%E6%97%A5%E6%9C%AC",
        "?q=lamp&q=l",
        "?Q=lamp",
        "?q=%F0%9F%98%80%F0%9F%98%80",
    ] {
        app.get(&format!("{AUTOCOMPLETE}{query}"))
            .await
            .is_text(400, TOO_SHORT);
    }
    app.get(&format!("{AUTOCOMPLETE}?q=lam%00"))
        .await
        .is_text(400, r#"{"q":["Null characters are not allowed."]}"#);
}

#[tokio::test]
async fn at_most_ten_products_are_suggested() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    for number in (0..12).rev() {
        app.product_in(category, &format!("Lamp {number:02}"), "1").await;
    }
    let answer = app.get(&format!("{AUTOCOMPLETE}?q=lamp")).await;
    let rows = answer.body.as_array().unwrap();
    assert_eq!(
        (rows.len(), &rows[0]["title"], &rows[9]["title"]),
        (10, &json!("Lamp 00"), &json!("Lamp 09"))
    );
}

#[tokio::test]
async fn request_21_within_a_minute_gets_429() {
    let app = limited().await;
    let good = format!("{AUTOCOMPLETE}?q=lamp");
    for remaining in (0..20).rev() {
        // Refusals and HEAD count like anything else.
        let (answer, status) = match remaining % 3 {
            0 => (app.get(&good).await, 200),
            1 => (app.get(AUTOCOMPLETE).await, 400),
            _ => (send(app.request(Method::HEAD, &good)).await, 200),
        };
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-ratelimit-limit"), "20");
        assert_eq!(answer.header("x-ratelimit-remaining"), remaining.to_string());
        let reset: u32 = answer.header("x-ratelimit-reset").parse().unwrap();
        assert!((1..=60).contains(&reset), "{reset}");
        assert_eq!(answer.header("retry-after"), "");

        // These requests do not count, and their responses have no limit headers.
        for (method, status) in [
            (Method::OPTIONS, 200),
            (Method::POST, 405),
            (Method::DELETE, 405),
            (Method::TRACE, 405),
        ] {
            let free = send(app.request(method, &good)).await;
            assert_eq!(free.status, status);
            assert!(limit_headers(&free).is_empty());
        }
    }
    let unacceptable = send(app.request(Method::GET, &good).header("accept", "image/png")).await;
    assert_eq!(unacceptable.status, 406);

    let refused = app.get(&good).await;
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    refused.is_text(
        429,
        &format!(r#"{{"error":"Rate limit exceeded","detail":"Maximum 20 requests per 60 seconds allowed.","retry_after":{wait}}}"#),
    );
    assert_eq!(refused.header("x-ratelimit-limit"), "20");
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(refused.header("x-ratelimit-reset"), wait.to_string());
    assert_eq!(refused.header("content-type"), "application/json");
    assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
    assert_eq!(refused.header("vary"), "Accept, origin, Cookie");
    assert_eq!(refused.header("x-frame-options"), "DENY");
    assert_ne!(refused.header("x-request-id"), "");
    let head = send(app.request(Method::HEAD, &good)).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (429, ""));
    assert_eq!(
        app.get("/api/products/search/?q=lamp").await.status,
        200,
        "no other route is limited"
    );
}

#[tokio::test]
async fn exactly_20_of_40_concurrent_requests_pass() {
    let app = limited().await;
    let path = format!("{AUTOCOMPLETE}?q=lamp");
    let answers = futures::future::join_all((0..40).map(|_| app.get(&path))).await;
    let mut remaining: Vec<u32> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.header("x-ratelimit-remaining").parse().unwrap())
        .collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..20).collect::<Vec<_>>());
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 20);
}

#[tokio::test]
async fn x_forwarded_for_counts_from_trusted_proxies_only() {
    let forged = async |app: &TestApp, client: u8| {
        let request = app.request(Method::GET, &format!("{AUTOCOMPLETE}?q=lamp"));
        let answer = send(request.header("x-forwarded-for", format!("203.0.113.{client}"))).await;
        answer.header("x-ratelimit-remaining").to_owned()
    };
    let app = limited().await;
    assert_eq!(forged(&app, 1).await, "19");
    assert_eq!(forged(&app, 2).await, "18", "one peer, one client");
    let app = TestApp::start_with(HttpSettings {
        rate_limit_enabled: true,
        trusted_proxies: "127.0.0.0/8".parse().unwrap(),
        ..production()
    })
    .await;
    assert_eq!(forged(&app, 1).await, "19");
    assert_eq!(forged(&app, 2).await, "19", "a client of its own");
    assert_eq!(forged(&app, 1).await, "18");
}

#[tokio::test]
async fn disabled_limiter_counts_nothing() {
    let app = TestApp::start().await;
    for _ in 0..25 {
        let answer = app.get(&format!("{AUTOCOMPLETE}?q=lamp")).await;
        assert_eq!(answer.status, 200);
        assert!(limit_headers(&answer).is_empty());
    }
}
