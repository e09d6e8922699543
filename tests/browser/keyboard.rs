//! The console by keyboard alone.

use crate::kit::{PHONE, Shop, key};

#[tokio::test]
async fn first_tab_stop_skips_the_menu() {
    let shop = Shop::open().await;
    let browser = shop.enter().await;
    browser.goto("/admin/orders/").await;
    browser.press(&[key::TAB]).await;
    assert_eq!(browser.focused().await, "Skip to the content");
    assert!(browser.shows_the_focus().await);
    browser.press(&[key::ENTER, key::TAB]).await;
    let is_within = browser
        .evaluate("document.querySelector('main').contains(document.activeElement)")
        .await;
    assert_eq!(is_within.unwrap(), true, "{}", browser.focused().await);

    // Without that, the tab order is that of the page: the menu, then the content.
    browser.goto("/admin/orders/").await;
    let mut order = Vec::new();
    for _ in 0..21 {
        browser.press(&[key::TAB]).await;
        assert!(browser.shows_the_focus().await, "{}", browser.focused().await);
        order.push(browser.focused().await);
    }
    let expected = [
        "Skip to the content",
        "Afforo",
        "Overview",
        "Orders",
        "Stock",
        "Transfers",
        "Products",
        "Categories",
        "Stores",
        "Jobs",
        "Accounts and keys",
        "Audit",
        "System",
        "chief",
        "Log out",
        "Export as CSV",
        "Create order",
        "q",
        "status",
        "store",
        "from",
    ];
    assert_eq!(order, expected);
    browser.close().await;
}

#[tokio::test]
async fn menu_on_a_phone_opens_and_closes_with_enter() {
    let shop = Shop::open().await;
    let browser = shop.enter().await;
    browser.width(PHONE).await;
    browser.goto("/admin/").await;
    browser.sees_no("Categories").await;
    browser.press(&[key::TAB, key::TAB, key::TAB]).await;
    assert_eq!(browser.focused().await, "Menu");
    browser.press(&[key::ENTER]).await;
    browser.sees("Categories").await;
    browser.fits(PHONE).await;
    browser.press(&[key::ENTER]).await;
    browser.sees_no("Categories").await;
    browser.press(&[key::ENTER, key::TAB, key::TAB]).await;
    assert_eq!(browser.focused().await, "Orders");
    browser.press(&[key::ENTER]).await;
    browser.arrives_at("/admin/orders/").await;
    browser.close().await;
}
