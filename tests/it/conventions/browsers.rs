//! Cross-origin requests and allowed hosts.

use std::collections::BTreeSet;

use afforo::config::HttpSettings;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::app::{Answer, TestApp, production, send};

/// The CORS headers that permit reading and sending.
fn allowed(answer: &Answer) -> (&str, BTreeSet<String>, BTreeSet<String>) {
    let list = |what: &str| {
        let list = answer.header(format!("access-control-allow-{what}"));
        let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
        names.filter(|name| !name.is_empty()).collect()
    };
    (
        answer.header("access-control-allow-origin"),
        list("methods"),
        list("headers"),
    )
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(' ').map(str::to_owned).collect()
}

async fn from(app: &TestApp, method: Method, path: &str, origin: &str) -> Answer {
    send(app.request(method, path).header("origin", origin)).await
}

async fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let request = app.request(Method::OPTIONS, path);
    send(
        request
            .header("origin", origin)
            .header("access-control-request-method", "PUT"),
    )
    .await
}

#[tokio::test]
async fn production_allows_configured_cors_origins_only() {
    let app = TestApp::start().await;
    let methods = names("delete get options patch post put");
    let headers = names(
        "accept afforo-position authorization content-type idempotency-key if-match user-agent x-api-key x-csrftoken x-requested-with",
    );
    for origin in ["http://localhost:3000", "http://127.0.0.1:3000"] {
        for path in [
            "/api/categories/",
            "/api/categories/9/",
            "/api/nowhere/",
            "/health/",
        ] {
            let get = from(&app, Method::GET, path, origin).await;
            assert_eq!(get.header("access-control-allow-origin"), origin, "{path}");
            assert!(get.header("vary").contains("origin"));
            let options = from(&app, Method::OPTIONS, path, origin).await;
            assert_eq!(options.header("access-control-allow-origin"), origin, "{path}");
            let asked = preflight(&app, path, origin).await;
            assert_eq!(
                allowed(&asked),
                (origin, methods.clone(), headers.clone()),
                "{path}"
            );
            assert_eq!(asked.header("access-control-max-age"), "86400");
            asked.is_text(200, "");
            assert_eq!(asked.header("vary"), "origin");
        }
    }
    for origin in [
        "http://localhost:3001",
        "https://localhost:3000",
        "http://evil.example",
        "null",
        "",
    ] {
        for asked in [
            from(&app, Method::GET, "/api/categories/", origin).await,
            preflight(&app, "/api/categories/", origin).await,
        ] {
            assert_eq!((asked.status.as_u16(), allowed(&asked).0), (200, ""), "{origin}");
        }
    }
    let options = from(&app, Method::OPTIONS, "/api/categories/", "http://localhost:3000").await;
    assert_eq!(
        options.header("allow"),
        "GET, POST, HEAD, OPTIONS",
        "no preflight"
    );
    assert_eq!(allowed(&app.get("/api/categories/").await).0, "");
}

#[tokio::test]
async fn production_allows_no_cors_origin_by_default() {
    let app = TestApp::start_with(HttpSettings {
        cors_allowed_origins: "".parse().unwrap(),
        ..production()
    })
    .await;
    for origin in ["http://localhost:3000", "https://shop.example"] {
        for asked in [
            from(&app, Method::GET, "/api/categories/", origin).await,
            preflight(&app, "/api/categories/", origin).await,
        ] {
            assert_eq!(allowed(&asked).0, "", "{origin}");
        }
    }
}

#[tokio::test]
async fn development_allows_loopback_cors_origins_only() {
    let app = TestApp::start_with(HttpSettings {
        debug: true,
        ..production()
    })
    .await;
    for (origin, may) in [
        ("http://localhost:3000", true),
        ("https://localhost", true),
        ("http://127.0.0.1:5173", true),
        ("http://[::1]:8080", true),
        ("http://evil.example", false),
        ("https://localhost.evil.example", false),
        ("https://evil.example:3000/localhost", false),
        ("capacitor://localhost", false),
        ("null", false),
        ("", false),
    ] {
        let expected = if may { origin } else { "" };
        let get = from(&app, Method::GET, "/api/categories/", origin).await;
        assert_eq!(allowed(&get).0, expected, "{origin}");
        let asked = preflight(&app, "/api/categories/", origin).await;
        assert_eq!(allowed(&asked).0, expected, "{origin}");
        assert_eq!(asked.status, 200);
    }
}

#[tokio::test]
async fn requests_for_unknown_hosts_are_rejected_with_400() {
    let app = TestApp::start_with(HttpSettings {
        allowed_hosts: " localhost,.shop.example".parse().unwrap(),
        ..production()
    })
    .await;
    for path in ["/", "/api/categories/", "/api/nowhere/", "/health/nowhere/"] {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1",
            "shop.example.evil",
            "a b",
            "localhost:x",
        ] {
            let answer = send(app.request(Method::GET, path).header("host", host)).await;
            answer.is_text(400, r#"{"detail":"Host not allowed: name it in ALLOWED_HOSTS."}"#);
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
    for host in [
        "localhost",
        "LocalHost:8000",
        "shop.example",
        "a.b.shop.example:1",
        "localhost.",
    ] {
        let answer = send(app.request(Method::GET, "/api/categories/").header("host", host)).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let forwarded = app
        .request(Method::GET, "/api/categories/")
        .header("host", "evil.example")
        .header("x-forwarded-host", "localhost");
    assert_eq!(
        send(forwarded).await.status,
        400,
        "X-Forwarded-Host is not believed"
    );
    let asked = app
        .request(Method::OPTIONS, "/api/orders/")
        .header("host", "evil.example");
    let asked = asked
        .header("origin", "x")
        .header("access-control-request-method", "POST");
    assert_eq!(send(asked).await.status, 200, "a preflight is about the origin");
}

async fn answer_to(app: &TestApp, head: &str) -> String {
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let request = format!("{head}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn request_without_exactly_one_host_is_rejected_with_400() {
    let app = TestApp::start().await;
    let not_allowed = r#"{"detail":"Host not allowed: name it in ALLOWED_HOSTS."}"#;
    let several = r#"{"detail":"A request has one Host, and this one has several."}"#;
    for (head, refusal) in [
        ("GET /api/stores/ HTTP/1.1", not_allowed),
        ("GET /api/stores/ HTTP/1.1\r\nHost:", not_allowed),
        (
            "GET http://evil.example/api/stores/ HTTP/1.1\r\nHost: localhost",
            not_allowed,
        ),
        (
            "GET /api/stores/ HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
            several,
        ),
        (
            "GET /health/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
            several,
        ),
        (
            "GET http://localhost/api/stores/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
            several,
        ),
    ] {
        let answer = answer_to(&app, head).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        assert!(answer.ends_with(refusal), "{head}: {answer}");
    }
}

#[tokio::test]
async fn host_in_the_request_line_overrides_the_header() {
    let app = TestApp::start().await;
    let head = "GET http://localhost:81/api/ HTTP/1.1\r\nHost: evil.example";
    let answer = answer_to(&app, head).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("\"http://localhost:81/api/stores/\"") && !answer.contains("evil"),
        "{answer}"
    );
}

#[tokio::test]
async fn probes_are_answered_for_any_host() {
    let app = TestApp::start().await;
    for path in ["/health/", "/health/ready/", "/health", "/health/ready"] {
        for head in [
            "1.1\r\nHost: 10.0.0.5:8000",
            "1.1\r\nHost: evil.example",
            "1.1\r\nHost:",
            "1.1",
            "1.0",
        ] {
            let answer = answer_to(&app, &format!("GET {path} HTTP/{head}")).await;
            let status = answer.split(' ').nth(1).unwrap();
            assert!(
                status == "200" && answer.contains("{\""),
                "{path} {head}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn request_forwarded_from_https_gets_strict_transport_security() {
    let app = TestApp::start().await;
    let request = || app.request(Method::GET, "/health/");
    let forwarded = send(request().header("x-forwarded-proto", "https")).await;
    assert_eq!(forwarded.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(send(request()).await.header("strict-transport-security"), "");
}

#[tokio::test]
async fn index_redirects_browsers_and_gives_other_clients_links() {
    let app = TestApp::start().await;
    for (path, page, link) in [("/", "/admin/", "/api/"), ("/api/", "/api/docs/", "/api/orders/")] {
        let browser = app.request(Method::GET, path);
        let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
        let answer = send(browser.header("accept", accept)).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, page));
        for client in [None, Some("*/*"), Some("application/json")] {
            let request = app.request(Method::GET, path);
            let request = client
                .into_iter()
                .fold(request, |request, accept| request.header("accept", accept));
            let answer = send(request).await;
            assert_eq!(answer.header("content-type"), "application/json");
            let links: Vec<&str> = answer
                .body
                .as_object()
                .unwrap()
                .values()
                .map(|link| link.as_str().unwrap())
                .collect();
            assert!(
                links.contains(&format!("http://{}{link}", app.address).as_str()),
                "{links:?}"
            );
            for link in links {
                let path = link.strip_prefix(&format!("http://{}", app.address)).unwrap();
                let status = app.get(path).await.status.as_u16();
                // Autocomplete asks for a text, the console for a login.
                assert!([200, 303, 400].contains(&status), "{link}: {status}");
            }
        }
        assert_eq!(app.post(path, &serde_json::json!({})).await.status, 405);
    }
}
