//! Conventions of all endpoints.

mod bodies;
mod browsers;
mod cursors;
mod links;
mod preconditions;
mod transfer;

use reqwest::Method;

use crate::support::app::{Answer, TestApp, send};

const LISTS: [&str; 5] = [
    "/api/categories/",
    "/api/products/",
    "/api/stores/",
    "/api/inventory/",
    "/api/orders/",
];
/// Resources that are only read.
const READ_ONLY: [&str; 4] = [
    "/api/products/search/",
    "/api/products/autocomplete/?q=lamp",
    "/api/orders/1/",
    "/api/orders/stats/",
];
const DETAILS: [&str; 4] = [
    "/api/categories/1/",
    "/api/products/1/",
    "/api/stores/1/",
    "/api/inventory/1/",
];
/// Paths that are not resources.
const NOWHERE: [&str; 15] = [
    "/api/unknown/",
    "/api/categories/abc/",
    "/api/categories/-1/",
    "/api/categories/+1/",
    "/api/categories/1.0/",
    "/api/categories/1_0/",
    "/api/categories/%D9%A3/",
    "/api/categories/%FF/",
    "/api/categories/%2F/",
    "/api/categories/%00/",
    "/api/categories/1/products/",
    "/api/categories//1/",
    "/api/Categories/",
    "/api/orders/stats/1/",
    "/health/1/",
];

/// A server with one record of every kind, each with the id 1.
async fn app() -> TestApp {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1").await);
    app.stock(store, product, 5).await;
    app.order(store, &[(product, 1)]).await.created();
    app
}

fn methods(text: &str) -> impl Iterator<Item = Method> {
    text.split(' ').map(|method| method.parse().unwrap())
}

async fn ask(app: &TestApp, method: Method, path: &str) -> Answer {
    send(app.request(method, path)).await
}

#[tokio::test]
async fn resource_answers_have_allow_and_vary() {
    let app = app().await;
    let check = async |path: &str, allow: &str| {
        for method in methods("GET HEAD OPTIONS POST PUT PATCH DELETE TRACE PURGE") {
            let answer = ask(&app, method.clone(), path).await;
            assert_eq!(answer.header("allow"), allow, "{method} {path}: {}", answer.text);
            assert_eq!(answer.header("vary"), "Accept, origin, Cookie", "{method} {path}");
            let allowed = allow.split(", ").any(|allowed| allowed == method.as_str());
            assert_eq!(allowed, answer.status != 405, "{method} {path}");
            match (method.as_str(), answer.status.as_u16()) {
                ("HEAD" | "OPTIONS", status) => assert_eq!((status, answer.text.as_str()), (200, "")),
                (_, 405) => answer.is_text(
                    405,
                    &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
                ),
                (_, 204) => assert_eq!(answer.text, ""),
                _ => assert_eq!(
                    answer.header("content-type"),
                    "application/json",
                    "{method} {path}"
                ),
            }
        }
    };
    for path in LISTS {
        check(path, "GET, POST, HEAD, OPTIONS").await;
    }
    for path in READ_ONLY {
        // An order keeps its lines. A PATCH changes only what clients keep with it.
        let patched = if path == "/api/orders/1/" { "PATCH, " } else { "" };
        check(path, &format!("GET, {patched}HEAD, OPTIONS")).await;
    }
    for path in DETAILS.iter().rev() {
        let mut missing = (*path).to_owned();
        missing.insert(path.len() - 1, '9');
        for path in [path, missing.as_str()] {
            let answer = ask(&app, Method::OPTIONS, path).await;
            assert_eq!(answer.header("allow"), "GET, PUT, PATCH, DELETE, HEAD, OPTIONS");
            answer.is_text(200, "");
            let answer = ask(&app, Method::POST, path).await;
            assert_eq!(answer.header("allow"), "GET, PUT, PATCH, DELETE, HEAD, OPTIONS");
            answer.is_text(405, r#"{"detail":"Method \"POST\" not allowed."}"#);
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = app().await;
    let paths = LISTS.iter().chain(&DETAILS).chain(&READ_ONLY).chain(&[
        "/health/",
        "/api/categories/99/",
        "/api/categories/?page=9",
        "/api/orders/?store_id=x",
        "/api/products/autocomplete/?q=x",
        "/api/nowhere/",
    ]);
    for path in paths {
        let (get, head) = (app.get(path).await, ask(&app, Method::HEAD, path).await);
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(
            head.header("content-length"),
            get.text.len().to_string(),
            "{path}"
        );
        for name in ["content-type", "allow", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
    }
}

#[tokio::test]
async fn path_without_trailing_slash_is_the_same_resource() {
    let app = app().await;
    for path in LISTS
        .iter()
        .chain(&DETAILS)
        .chain(&READ_ONLY)
        .chain(&["/health/"])
    {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let with = app.get(&format!("{path}?{query}")).await;
        assert_eq!(with.status, 200);
        app.get(&format!("{}?{query}", path.trim_end_matches('/')))
            .await
            .is_text(200, &with.text);
    }
    let created = app
        .post_text("/api/categories", r#"{"name":"New"}"#)
        .await
        .created();
    let path = format!("/api/categories/{created}");
    for method in methods("PUT PATCH") {
        assert_eq!(
            app.send_text(method, &path, r#"{"name":"Other"}"#).await.status,
            200
        );
    }
    assert_eq!(app.delete(&path).await.status, 204);
}

#[tokio::test]
async fn unknown_paths_are_not_found_for_any_method() {
    let app = app().await;
    for path in NOWHERE {
        for method in methods("GET POST PUT PATCH DELETE OPTIONS TRACE PURGE") {
            let request = app.request(method.clone(), path).header("accept", "image/png");
            let answer = send(request.body("no json")).await;
            answer.is_text(404, r#"{"detail":"Not found."}"#);
            assert_eq!(
                answer.header("content-type"),
                "application/json",
                "{method} {path}"
            );
            assert_eq!(answer.header("x-frame-options"), "DENY");
        }
        assert_eq!(
            ask(&app, Method::GET, path.trim_end_matches('/')).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn json_is_sent_for_json_html_or_any_accept() {
    let app = app().await;
    for accept in [
        "*/*",
        "application/json",
        "APPLICATION/JSON",
        "application/*",
        "application/json; q=0.1",
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/xml, application/json",
    ] {
        for path in LISTS.iter().chain(&READ_ONLY).chain(&DETAILS) {
            let answer = send(app.request(Method::GET, path).header("accept", accept)).await;
            assert_eq!(answer.status, 200, "{accept} {path}");
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
    for accept in [
        "image/png",
        "application/xml",
        "application/vnd.api+json",
        "*",
        "",
    ] {
        for path in LISTS
            .iter()
            .chain(&READ_ONLY)
            .chain(&DETAILS)
            .chain(&["/api/categories/99/"])
        {
            for method in methods("GET POST PUT DELETE OPTIONS") {
                let request = app.request(method, path).header("accept", accept);
                send(request).await.is_text(
                    406,
                    r#"{"detail":"Could not satisfy the request Accept header."}"#,
                );
            }
        }
    }
    for format in ["json", "api", "xml"] {
        assert_eq!(
            app.get(&format!("/api/categories/?format={format}")).await.status,
            200
        );
    }
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let app = app().await;
    let mut answers = vec![ask(&app, Method::DELETE, "/api/inventory/1/").await];
    for path in [
        "/health/",
        "/api/categories/",
        "/api/categories/?page=9",
        "/api/categories/9/",
        "/api/nowhere/",
        "/api/products/autocomplete/",
        "/api/openapi.json",
        "/api/docs/",
    ] {
        answers.push(app.get(path).await);
        answers.push(ask(&app, Method::OPTIONS, path).await);
        answers.push(ask(&app, Method::PUT, path).await);
    }
    answers.push(app.post_text("/api/orders/", "[").await);
    answers.push(
        send(
            app.request(Method::GET, "/health/")
                .header("host", "evil.example"),
        )
        .await,
    );
    let preflight = app
        .request(Method::OPTIONS, "/api/orders/")
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST");
    answers.push(send(preflight).await);
    for answer in answers {
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{answer:?}");
        }
        assert!(answer.header("vary").contains("origin"), "{answer:?}");
        assert_ne!(answer.header("x-request-id"), "", "{answer:?}");
    }
}

#[tokio::test]
async fn usable_request_id_is_kept_and_others_are_replaced() {
    let app = TestApp::start().await;
    let answered = async |id: &str| {
        let answer = send(
            app.request(Method::GET, "/api/nowhere/")
                .header("x-request-id", id),
        )
        .await;
        answer.header("x-request-id").to_owned()
    };
    let longest = "x".repeat(128);
    for id in ["abc-123", "5f:{};", &longest] {
        assert_eq!(answered(id).await, id);
    }
    let too_long = "x".repeat(129);
    for id in ["", "two words", "tab\tbed", &too_long] {
        let made = answered(id).await;
        assert!(made.len() == 36 && made != id, "{made}");
    }
    assert_ne!(answered("").await, answered("").await);
}

#[tokio::test]
async fn open_api_ignores_credentials() {
    let app = TestApp::start().await;
    for credentials in ["Bearer x", "Basic dXNlcjpwYXNz", "Basic !", "Token 1"] {
        let request = app.request(Method::GET, "/api/categories/");
        let answer = send(request.header("authorization", credentials)).await;
        assert_eq!(answer.status, 200, "{credentials}");
    }
}
