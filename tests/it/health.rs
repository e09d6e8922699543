//! `/health/`

use reqwest::Method;

use crate::support::app::{TestApp, send};

const HEALTHY: &str = r#"{"status": "healthy", "service": "inventory-api"}"#;

#[tokio::test]
async fn health_answers_200_and_healthy() {
    let app = TestApp::start().await;
    for path in ["/health/", "/health", "/health/?x=1"] {
        for method in [Method::GET, Method::OPTIONS] {
            let answer = send(app.request(method, path).header("accept", "image/png")).await;
            answer.is_text(200, HEALTHY);
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.header("vary"), "origin");
            assert_eq!(answer.header("allow"), "");
        }
    }
    let head = send(app.request(Method::HEAD, "/health/")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), HEALTHY.len().to_string());
}

#[tokio::test]
async fn health_does_not_use_the_database() {
    let app = TestApp::start().await;
    app.pools.close().await;
    app.get("/health/").await.is_text(200, HEALTHY);
    let unavailable = app.get("/api/categories/").await;
    unavailable.is_text(
        503,
        r#"{"detail":"Service temporarily unavailable, try again later."}"#,
    );
    assert_eq!(unavailable.header("retry-after"), "1");
}

#[tokio::test]
async fn writing_to_health_is_rejected_with_403() {
    let app = TestApp::start().await;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        app.send_text(method, "/health/", "{}").await.is_text(
            403,
            r#"{"detail":"Only GET, HEAD and OPTIONS are allowed here."}"#,
        );
    }
}
