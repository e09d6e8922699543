//! Lists: cards and folded filters on a phone, the bar of selected rows, and pages as they are printed.

use afforo::auth::Role;
use serde_json::Value;

use crate::{
    kit::{Browser, PHONE, Shop, WIDE, key},
    support::accounts::account,
};

const LISTS: [&str; 6] = ["orders", "stock", "products", "stores", "categories", "audit"];

/// Whether the first row of a list is above the fold of a phone, and each of its visible cells within the window.
const FITS: &str = "(row => {
    const cells = [...row.cells].filter(cell => cell.checkVisibility()).map(cell => cell.getBoundingClientRect());
    const { top, bottom } = row.getBoundingClientRect();
    return bottom < innerHeight && bottom - top < 120 && cells.length > 1
        && cells.every(cell => cell.left >= 0 && cell.right <= innerWidth);
})(document.querySelector('tbody tr'))";

#[tokio::test]
async fn rows_on_a_phone_are_cards_above_the_fold() {
    let shop = Shop::open().await;
    let (store, lamp, _) = shop.lamps(3).await;
    shop.app.order(store, &[(lamp, 1)]).await.created();
    let browser = shop.enter().await;
    browser.width(PHONE).await;
    for list in LISTS {
        browser.goto(&format!("/admin/{list}/")).await;
        assert!(is(&browser, FITS).await, "{list}");
    }
    browser.goto("/admin/stock/").await;
    let row = browser.row_of("Lamp").await;
    for shown in ["Low", "Main Store", "2"] {
        assert!(row.contains(shown), "{shown}: {row}");
    }
    browser.close().await;
}

#[tokio::test]
async fn filters_on_a_phone_fold_behind_a_button_with_their_number() {
    let shop = Shop::open().await;
    shop.lamps(3).await;
    account(&shop.app, "chief", Role::Superuser, None).await;
    for scripts in [true, false] {
        let browser = Browser::open(shop.app.address).await;
        if !scripts {
            browser.without_scripts().await;
        }
        shop.log_in(&browser, "chief").await;
        browser.width(PHONE).await;
        browser
            .goto("/admin/orders/?status=REJECTED&store=1&q=Main")
            .await;
        assert!(!is_shown(&browser, "#status").await && is_shown(&browser, "#q").await);
        browser.click("Filters · 2").await;
        browser
            .until("the filters are open", async || {
                is_shown(&browser, "#status").await
            })
            .await;
        browser.click("Clear").await;
        browser.sees("No orders yet").await;
        assert!(!is_shown(&browser, "#status").await);
        browser.goto("/admin/orders/?from=2026-13-01").await;
        assert!(
            is_shown(&browser, "#from-error").await,
            "an error is never folded"
        );
        browser.width(WIDE).await;
        browser.goto("/admin/orders/").await;
        assert!(is_shown(&browser, "#status").await && !is_shown(&browser, ".fold > summary").await);
        browser.close().await;
    }
}

#[tokio::test]
async fn menu_on_a_phone_is_as_wide_as_the_window() {
    let shop = Shop::open().await;
    let browser = shop.enter().await;
    browser.width(PHONE).await;
    browser.goto("/admin/").await;
    browser.click("Menu").await;
    browser
        .until("the menu is wide", async || {
            let width = "document.querySelector('.menu nav').offsetWidth > innerWidth - 40";
            is(&browser, width).await
        })
        .await;
    browser.fits(PHONE).await;
    browser.close().await;
}

#[tokio::test]
async fn selected_rows_show_a_bar_that_stays_in_view() {
    let shop = Shop::open().await;
    let category = shop.app.category("Lamps").await;
    for number in 10..30 {
        let title = format!("Lamp {number}");
        shop.app.product_in(category, &title, "1.00").await;
    }
    let browser = shop.enter().await;
    browser.goto("/admin/products/").await;
    assert!(!is_shown(&browser, "#selection").await, "nothing is selected");
    browser.tick("Select Lamp 12").await;
    browser.sees("1 selected").await;
    let in_view = "(box => box.top >= 0 && box.bottom <= innerHeight)(document.querySelector('#selection').getBoundingClientRect())";
    for width in [WIDE, PHONE] {
        browser.width(width).await;
        browser.evaluate("scrollTo(0, 0)").await.unwrap();
        assert!(is(&browser, in_view).await, "{width}");
    }
    browser.is_sound().await;
    browser
        .holding(key::SHIFT, async || browser.tick("Select Lamp 15").await)
        .await;
    browser.sees("4 selected").await;
    browser.tick("Select all on this page").await;
    browser.sees("20 selected").await;
    browser.tick("Select all on this page").await;
    browser
        .until("the bar is gone", async || {
            !is_shown(&browser, "#selection").await
        })
        .await;
    browser.tick("Select Lamp 10").await;
    browser.tick("Select Lamp 11").await;
    browser.click("Deactivate…").await;
    browser.sees("Deactivate 2 products?").await;
    browser.click("Deactivate 2").await;
    browser.arrives_at("/admin/products/").await;
    browser.sees("Inactive").await;
    browser.close().await;
}

#[tokio::test]
async fn rows_are_selected_and_deleted_without_javascript() {
    let shop = Shop::open().await;
    shop.app.category("Lamps").await;
    account(&shop.app, "chief", Role::Superuser, None).await;
    let browser = Browser::open(shop.app.address).await;
    browser.without_scripts().await;
    shop.log_in(&browser, "chief").await;
    browser.goto("/admin/categories/").await;
    assert!(!is_shown(&browser, "[data-all]").await, "it would do nothing");
    browser.tick("Select Lamps").await;
    browser.click("Delete…").await;
    browser.click("Delete 1").await;
    browser.sees("There are no categories yet").await;
    browser.close().await;
}

#[tokio::test]
async fn printed_order_is_a_sheet_without_controls() {
    let shop = Shop::open().await;
    let (store, lamp, _) = shop.lamps(3).await;
    let order = shop.app.order(store, &[(lamp, 2)]).await.created();
    let browser = shop.enter().await;
    for path in [format!("/admin/orders/{order}/"), "/admin/stock/".to_owned()] {
        browser.goto(&path).await;
        browser.prints().await;
        for control in [".bar", "main button", "main a.button", "form", ".pager", ".pick"] {
            assert!(!is_shown(&browser, control).await, "{path}: {control}");
        }
    }
    browser.goto(&format!("/admin/orders/{order}/")).await;
    let text = browser.text().await;
    for printed in ["Main Store", "Lamp", "3.00"] {
        assert!(text.contains(printed), "{printed}: {text}");
    }
    browser.close().await;
}

async fn is(browser: &Browser, script: &str) -> bool {
    browser.evaluate(script).await.unwrap() == Value::Bool(true)
}

/// Whether any element that a selector finds is shown.
async fn is_shown(browser: &Browser, selector: &str) -> bool {
    let script = format!(
        "[...document.querySelectorAll('{selector}')].some(e => e.checkVisibility({{ visibilityProperty: true }}))"
    );
    is(browser, &script).await
}
