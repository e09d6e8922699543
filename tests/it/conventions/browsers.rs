//! Pages of other origins, and the hosts that the server is known by.

use afforo::settings::HttpSettings;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::app::{Answer, TestApp, production, send};

const METHODS: &str = "DELETE, GET, OPTIONS, PATCH, POST, PUT";
const HEADERS: &str = "accept, authorization, content-type, user-agent, x-csrftoken, x-requested-with";

/// Origin, methods, headers and age that an answer allows.
fn allowed(answer: &Answer) -> [&str; 4] {
    ["origin", "methods", "headers"]
        .map(|what| answer.header(format!("access-control-allow-{what}")))
        .into_iter()
        .chain([answer.header("access-control-max-age")])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

async fn from(app: &TestApp, method: Method, path: &str, origin: &str) -> Answer {
    send(app.request(method, path).header("origin", origin)).await
}

async fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let request = app.request(Method::OPTIONS, path);
    send(
        request
            .header("origin", origin)
            .header("access-control-request-method", "PURGE"),
    )
    .await
}

#[tokio::test]
async fn in_production_known_origins_may_read_and_no_others() {
    let app = TestApp::start().await;
    for origin in ["http://localhost:3000", "http://127.0.0.1:3000"] {
        for path in [
            "/api/categories/",
            "/api/categories/9/",
            "/api/nowhere/",
            "/health/",
        ] {
            let get = from(&app, Method::GET, path, origin).await;
            assert_eq!(allowed(&get), [origin, "", "", ""], "{path}");
            assert!(get.header("vary").contains("origin"));
            let options = from(&app, Method::OPTIONS, path, origin).await;
            assert_eq!(allowed(&options), [origin, METHODS, HEADERS, "86400"], "{path}");
            let asked = preflight(&app, path, origin).await;
            assert_eq!(allowed(&asked), [origin, METHODS, HEADERS, "86400"], "{path}");
            asked.is_text(200, "");
            assert_eq!(
                (asked.header("vary"), asked.header("content-length")),
                ("origin", "0")
            );
            assert_eq!(asked.header("content-type"), "text/html; charset=utf-8");
        }
    }
    for origin in [
        "http://localhost:3001",
        "https://localhost:3000",
        "http://evil.example",
        "null",
        "",
    ] {
        let get = from(&app, Method::GET, "/api/categories/", origin).await;
        assert_eq!((get.status.as_u16(), allowed(&get)), (200, [""; 4]), "{origin}");
        let asked = preflight(&app, "/api/categories/", origin).await;
        assert_eq!(
            (asked.status.as_u16(), allowed(&asked)),
            (200, [""; 4]),
            "{origin}"
        );
    }
    assert_eq!(allowed(&app.get("/api/categories/").await), [""; 4]);
}

#[tokio::test]
async fn in_development_every_origin_may_read() {
    let app = TestApp::start_with(HttpSettings {
        debug: true,
        ..production()
    })
    .await;
    for origin in ["http://localhost:3000", "http://evil.example", "null"] {
        let get = from(&app, Method::GET, "/api/categories/", origin).await;
        assert_eq!(allowed(&get), ["*", "", "", ""]);
        let asked = preflight(&app, "/api/categories/", origin).await;
        assert_eq!(allowed(&asked), ["*", METHODS, HEADERS, "86400"]);
        asked.is_text(200, "");
    }
    assert_eq!(
        allowed(&app.get("/api/categories/").await),
        [""; 4],
        "no page asked"
    );
    let blank = from(&app, Method::GET, "/api/categories/", "").await;
    assert_eq!(allowed(&blank), [""; 4], "no page asked");
}

#[tokio::test]
async fn requests_for_other_hosts_are_refused() {
    let app = TestApp::start_with(HttpSettings {
        allowed_hosts: vec![" localhost".into(), ".shop.example".into()],
        ..production()
    })
    .await;
    for path in ["/health/", "/api/categories/", "/api/nowhere/"] {
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
        let answer = send(app.request(Method::GET, "/health/").header("host", host)).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let forwarded = app
        .request(Method::GET, "/health/")
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

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let app = TestApp::start().await;
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let request = b"GET /health/ HTTP/1.1\r\nConnection: close\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        answer.ends_with(r#"{"detail":"Host not allowed: name it in ALLOWED_HOSTS."}"#),
        "{answer}"
    );
}
