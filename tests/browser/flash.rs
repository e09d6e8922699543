//! The message about a finished request.

use crate::kit::Shop;

#[tokio::test]
async fn message_names_what_was_done_and_does_not_survive_a_reload() {
    let shop = Shop::open().await;
    let (_, lamp, inventory) = shop.lamps(40).await;
    let browser = shop.enter().await;
    browser.without_scripts().await;
    browser.goto(&format!("/admin/stock/{inventory}/")).await;
    browser.tick("Receive").await;
    browser.fill("Quantity", "12").await;
    browser.fill("Reason", "A delivery").await;
    browser.click("Save adjustment").await;
    browser.sees("Stock updated: 40 → 52.").await;
    assert_eq!(browser.path().await, format!("/admin/stock/{inventory}/"));
    browser.client.refresh().await.unwrap();
    browser.sees_no("Stock updated").await;

    browser.goto(&format!("/admin/products/{lamp}/")).await;
    browser.click("Deactivate").await;
    browser.sees("Lamp deactivated.").await;
    browser.click("Products").await;
    browser.sees_no("Lamp deactivated.").await;
    browser.close().await;
}
