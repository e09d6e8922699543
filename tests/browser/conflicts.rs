//! Two operators who edit the same product.

use serde_json::json;

use crate::kit::Shop;

#[tokio::test]
async fn a_conflict_is_decided_with_and_without_javascript() {
    let shop = Shop::open().await;
    let (_, lamp, _) = shop.lamps(10).await;
    let mut browser = shop.enter().await;
    browser.expects("status of 409");
    let path = format!("/api/products/{lamp}/");
    for (mine, theirs, choice, stays) in [
        ("39.90", "59.90", "Use mine", "39.90"),
        ("29.90", "69.90", "Keep theirs", "69.90"),
    ] {
        browser.goto(&format!("/admin/products/{lamp}/edit/")).await;
        browser.fill("Price", mine).await;
        browser.fill("Title", &format!("Lamp, {choice}")).await;
        shop.app.patch(&path, &json!({ "price": theirs })).await;
        browser.click("Save").await;
        browser.sees(&format!("Keep theirs: {theirs}")).await;
        if choice == "Use mine" {
            // It runs a script in the page.
            browser.is_sound().await;
        }
        browser.tick(choice).await;
        browser.click("Save").await;
        browser.arrives_at(&format!("/admin/products/{lamp}/")).await;
        let saved = shop.app.get(&path).await.body;
        assert_eq!(
            (&saved["price"], &saved["title"]),
            (&json!(stays), &json!(format!("Lamp, {choice}")))
        );
        browser.without_scripts().await;
    }
    browser.close().await;
}
