//! The kit: a browser that complains, or talks to others, does not go unnoticed.

use crate::{kit::Browser, support::app::TestApp};

#[tokio::test]
async fn api_docs_load_nothing_from_other_hosts() {
    let app = TestApp::start().await;
    let browser = Browser::open(app.address).await;
    browser.goto("/api/docs/").await;
    browser.sees("/api/orders/").await;
    browser.close().await;
}

#[tokio::test]
async fn console_errors_and_foreign_requests_are_detected() {
    let app = TestApp::start().await;
    let mut browser = Browser::open(app.address).await;
    browser.expects("a fault that is expected");
    browser.expects("/favicon.ico");
    // A page without a policy that forbids images of others.
    browser.goto("/health/").await;
    browser.sees("healthy").await;
    browser
        .evaluate("console.error('a fault that is expected')")
        .await
        .unwrap();
    browser.evaluate("console.error('a fault')").await.unwrap();
    browser
        .evaluate("new Image().src = 'http://elsewhere.test/pixel.png'")
        .await
        .unwrap();
    let mut complaints = Vec::new();
    let mut foreign = Vec::new();
    browser
        .until("the request fails", async || {
            let (more, others) = browser.verdict().await;
            complaints.extend(more);
            foreign.extend(others);
            complaints.len() >= 2
        })
        .await;
    assert!(complaints[0].ends_with("\"a fault\""), "{complaints:?}");
    assert!(complaints[1].contains("ERR_NAME_NOT_RESOLVED"), "{complaints:?}");
    assert_eq!(
        (complaints.len(), foreign),
        (2, vec!["http://elsewhere.test/pixel.png".to_owned()])
    );
    browser.close().await;
}
