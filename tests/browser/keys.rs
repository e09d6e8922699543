//! API keys, from the console to the API.

use afforo::config::{ApiAuth, ApiAuthSetting, HttpSettings};
use reqwest::Method;

use crate::{
    kit::Shop,
    support::{
        app::{TestApp, production, send},
        program::eventually,
    },
};

#[tokio::test]
async fn api_key_made_in_the_console_is_accepted_until_revoked() {
    let guarded = HttpSettings {
        api_auth: ApiAuthSetting(Some(ApiAuth::All)),
        ..production()
    };
    let shop = Shop::of(TestApp::start_with(guarded).await);
    let browser = shop.enter().await;
    browser.click("Accounts and keys").await;
    browser.click("API keys").await;
    browser.sees("There are no keys").await;
    browser.click("New key").await;
    browser.fill("Name", "Till").await;
    browser.tick("orders:read").await;
    browser.click("Create key").await;
    browser.sees("The key was created").await;
    browser.is_sound().await;
    let key = browser.value_of("Key").await;
    let status = async |path| {
        let request = shop.app.request(Method::GET, path).bearer_auth(&key);
        send(request).await.status.as_u16()
    };
    assert_eq!(shop.app.get("/api/orders/").await.status, 401);
    assert_eq!(status("/api/orders/").await, 200);
    assert_eq!(status("/api/products/").await, 403);

    browser.click("All keys").await;
    browser.sees("Expires").await;
    let row = browser.row_of("Active").await;
    assert!(row.contains("Till") && row.contains("orders:read"), "{row}");
    assert!(!browser.text().await.contains(&key), "it is shown once");
    browser.click("Revoke Till").await;
    browser.is_sound().await;
    browser.click("Revoke key").await;
    browser.sees("Revoked").await;
    eventually("the API refuses the key", async || {
        status("/api/orders/").await == 401
    })
    .await;
    browser.close().await;
}
