//! The console without JavaScript: every control is a link or a form.

use afforo::auth::Role;

use crate::{
    kit::{Browser, Shop},
    support::accounts::account,
};

#[tokio::test]
async fn console_works_without_javascript() {
    let shop = Shop::open().await;
    let (store, lamp, inventory) = shop.lamps(10).await;
    shop.app.order(store, &[(lamp, 900)]).await;
    let given_up = "insert into outbox (id, order_ids, handouts, dead_at) overriding system value values (1000, '{1}', 11, now())";
    sqlx::query(given_up).execute(&shop.pool).await.unwrap();
    account(&shop.app, "chief", Role::Superuser, None).await;
    let browser = Browser::open(shop.app.address).await;
    browser.without_scripts().await;
    shop.log_in(&browser, "chief").await;

    // Orders are filtered.
    browser.click("Orders").await;
    browser.choose("Status", "Confirmed").await;
    browser.click("Filter").await;
    browser.sees("No orders match").await;

    // An order is placed.
    browser.click("Create order").await;
    browser.choose("Store", "Main Store").await;
    browser.fill("Find a product", "lam").await;
    browser.click("Search").await;
    browser.click("Add Lamp").await;
    browser.fill("Quantity of Lamp", "3").await;
    browser.click("Create order").await;
    browser.sees("Confirmed").await;
    assert_eq!(shop.app.quantity(inventory).await, 7);

    // Stock is changed.
    browser.click("Stock").await;
    browser.click("Lamp").await;
    browser.tick("Receive").await;
    browser.fill("Quantity", "5").await;
    browser.fill("Reason", "A delivery").await;
    browser.click("Save adjustment").await;
    browser.sees("A delivery").await;
    assert_eq!(shop.app.quantity(inventory).await, 12);

    // A product is made, and taken out of the catalogue.
    browser.click("Products").await;
    browser.click("New product").await;
    browser.fill("Title", "Candle").await;
    browser.fill("Price", "0.50").await;
    browser.choose("Category", "Category of Lamp").await;
    browser.click("Save").await;
    browser.sees("Candle").await;
    browser.click("Products").await;
    browser.click("Deactivate Candle").await;
    browser.sees("Inactive").await;

    // A failed job is retried.
    browser.click("Jobs").await;
    browser.click("Retry outbox:1000").await;
    browser.sees("will be retried.").await;

    // Times are in UTC, and say so.
    let shown = browser.text_of("time").await.unwrap();
    assert!(shown.ends_with("UTC"), "{shown}");

    browser.click("Log out").await;
    browser.arrives_at("/admin/login/").await;
    browser.close().await;
}
