//! Stock, and the ledger that tells of its changes.

use crate::kit::Shop;

#[tokio::test]
async fn stock_change_and_its_reason_appear_in_the_ledger() {
    let shop = Shop::open().await;
    let (_, _, inventory) = shop.lamps(10).await;
    let browser = shop.enter().await;
    browser.goto("/admin/stock/").await;
    browser.click("Lamp").await;
    for (what, quantity, reason, after) in [
        ("Receive", "5", "A delivery", 15),
        ("Remove", "2", "Broken in the window", 13),
        ("Set counted", "12", "Stock-taking", 12),
    ] {
        browser.tick(what).await;
        browser.fill("Quantity", quantity).await;
        browser.fill("Reason", reason).await;
        browser.click("Save adjustment").await;
        browser.sees(reason).await;
        let row = browser.row_of(reason).await;
        assert!(
            row.split_whitespace().any(|word| word == after.to_string()) && row.contains("chief"),
            "{row}"
        );
        assert_eq!(shop.app.quantity(inventory).await, after);
    }
    browser.close().await;
}

#[tokio::test]
async fn removing_more_than_the_stock_is_rejected_and_the_form_kept() {
    let shop = Shop::open().await;
    let (_, _, inventory) = shop.lamps(10).await;
    let mut browser = shop.enter().await;
    browser.expects("status of 400");
    browser.goto(&format!("/admin/stock/{inventory}/")).await;
    browser.tick("Remove").await;
    browser.fill("Quantity", "11").await;
    browser.fill("Reason", "Lost").await;
    browser.click("Save adjustment").await;
    browser
        .until("it is refused", async || browser.count(".field.wrong").await == 1)
        .await;
    assert_eq!(browser.value_of("Reason").await, "Lost");
    browser.is_sound().await;
    assert_eq!(shop.app.quantity(inventory).await, 10);
    browser.close().await;
}
