//! Orders, as they come, and placed by hand.

use crate::kit::{PHONE, Shop, WIDE, key};

#[tokio::test]
async fn order_from_the_api_appears_in_the_list_without_reload() {
    let shop = Shop::open().await;
    let (store, lamp, _) = shop.lamps(10).await;
    let browser = shop.enter().await;
    browser.goto("/admin/orders/").await;
    browser.sees("No orders yet").await;
    browser.marks_the_page().await;
    let order = shop.app.order(store, &[(lamp, 2)]).await.created();
    browser.sees(&format!("#{order}")).await;
    assert!(browser.row_of(&format!("#{order}")).await.contains("Confirmed"));
    let rejected = shop.app.order(store, &[(lamp, 900)]).await.body["id"]
        .as_i64()
        .unwrap();
    browser.sees(&format!("#{rejected}")).await;
    assert!(browser.row_of(&format!("#{rejected}")).await.contains("Rejected"));
    assert!(browser.is_the_marked_page().await, "it was not loaded again");

    // The link of a row that came by itself leads to its order, and what was rejected says for lack of what.
    browser.click(&format!("#{rejected}")).await;
    browser.arrives_at(&format!("/admin/orders/{rejected}/")).await;
    browser.sees("900").await;
    browser.click("View stock").await;
    browser.sees("Lamp").await;
    browser.close().await;
}

#[tokio::test]
async fn order_from_the_api_appears_on_the_overview_without_reload() {
    let shop = Shop::open().await;
    let (store, lamp, _) = shop.lamps(10).await;
    let browser = shop.enter().await;
    browser.marks_the_page().await;
    let order = shop.app.order(store, &[(lamp, 2)]).await.created();
    browser.sees(&format!("#{order}")).await;
    assert!(browser.is_the_marked_page().await, "it was not loaded again");
    browser
        .until("what came by itself is in the viewer's zone, too", async || {
            !browser.row_of(&format!("#{order}")).await.contains("UTC")
        })
        .await;
    browser.close().await;
}

#[tokio::test]
async fn times_are_local_with_exact_utc_in_the_title() {
    let shop = Shop::open().await;
    let (store, lamp, _) = shop.lamps(10).await;
    shop.app.order(store, &[(lamp, 2)]).await.created();
    let then = "update orders set created_at = '2024-01-15 10:30:00.12Z'";
    sqlx::query(then).execute(&shop.pool).await.unwrap();
    let browser = shop.enter().await;
    browser.goto("/admin/orders/").await;
    let shown = browser.text_of("main time").await.unwrap();
    assert!(shown.starts_with("Jan 15, 2024, 4:15"), "{shown}");
    let exact = browser
        .evaluate("document.querySelector('main time').title")
        .await
        .unwrap();
    assert_eq!(exact, "2024-01-15 10:30:00.120000 UTC");
    browser.close().await;
}

#[tokio::test]
async fn order_placed_in_the_console_takes_stock_and_is_confirmed() {
    let shop = Shop::open().await;
    let (_, _, inventory) = shop.lamps(10).await;
    let browser = shop.enter().await;
    browser.goto("/admin/orders/").await;
    browser.click("Create order").await;
    browser.choose("Store", "Main Store").await;
    browser.fill("Find a product", "lam").await;
    browser.click("Add Lamp").await;
    browser.fill("Quantity of Lamp", "3").await;
    browser.click("Create order").await;
    browser.sees("Confirmed").await;
    browser.sees("4.50").await;
    assert_eq!(shop.app.quantity(inventory).await, 7);
    // The worker is quick: what became of the order is there with the next look.
    browser
        .until("the confirmation is on its timeline", async || {
            browser.client.refresh().await.unwrap();
            browser.text().await.contains("Confirmation sent")
        })
        .await;
    browser.close().await;
}

#[tokio::test]
async fn manual_order_follows_the_keyboard_without_a_reload() {
    let shop = Shop::open().await;
    let (store, _, _) = shop.lamps(41).await;
    let pen = shop.app.product("Pen", "0.35").await;
    shop.app.stock(store, pen, 5).await;
    let browser = shop.enter().await;
    browser.goto("/admin/orders/new/").await;
    browser.sees_no("Add the first result").await;
    browser.marks_the_page().await;
    // The only store is chosen. A search and Enter add the first result; the same again adds one more.
    browser.fill("Find a product", "lam").await;
    for quantity in ["1", "2"] {
        browser.press(&[key::ENTER]).await;
        browser
            .until("a lamp is added", async || {
                browser.count("[aria-label='Quantity of Lamp']").await == 1
                    && browser.value_of("Quantity of Lamp").await == quantity
            })
            .await;
        assert_eq!(browser.focused().await, "q");
    }
    // What is typed next replaces the search.
    browser.press(&['p', 'e', 'n']).await;
    browser.click("Add Pen").await;
    browser.sees("3.35").await;
    browser
        .until("the search has the focus", async || {
            browser.focused().await == "q"
        })
        .await;
    browser.fill("Quantity of Lamp", "42").await;
    browser.sees("Only 41 in stock.").await;
    browser.sees("63.00").await;
    browser.sees("63.35").await;
    browser.press(&[key::ENTER]).await;
    assert_eq!(browser.focused().await, "q");
    browser.click("Remove Pen").await;
    browser.sees_no("63.35").await;
    assert!(browser.is_the_marked_page().await, "it was not loaded again");
    browser.is_sound().await;
    browser.width(PHONE).await;
    let table = "(e => e.scrollWidth <= e.clientWidth)(document.querySelector('#draft .scroll'))";
    assert_eq!(
        browser.evaluate(table).await.unwrap(),
        true,
        "all columns fit a phone"
    );
    let store = "document.getElementById('store').clientWidth > 200";
    assert_eq!(browser.evaluate(store).await.unwrap(), true, "the choice fits");
    browser.width(WIDE).await;
    // The address has the lines, so a reload keeps them.
    browser.client.refresh().await.unwrap();
    browser.sees("Only 41 in stock.").await;
    browser.fill("Quantity of Lamp", "41").await;
    browser.sees_no("Only 41").await;
    browser.click("Create order").await;
    browser.sees("placed and confirmed.").await;
    browser.close().await;
}

#[tokio::test]
async fn failed_request_is_announced_until_the_next_success() {
    let shop = Shop::open().await;
    shop.lamps(10).await;
    let mut browser = shop.enter().await;
    browser.expects("status of 404");
    browser.expects("Response Status Error Code 404");
    browser.goto("/admin/orders/new/").await;
    browser
        .evaluate("htmx.ajax('GET', '/admin/orders/none/', '#found')")
        .await
        .unwrap();
    browser.sees("This did not work. Try again.").await;
    browser
        .evaluate("htmx.ajax('GET', '/admin/orders/new/products/', '#found')")
        .await
        .unwrap();
    browser.sees_no("This did not work. Try again.").await;
    browser.close().await;
}
