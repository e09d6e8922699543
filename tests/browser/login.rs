//! Logging in and out.

use afforo::auth::Role;

use crate::{
    kit::{Browser, Shop},
    support::accounts::{PASSWORD, account},
};

#[tokio::test]
async fn login_leads_to_the_requested_page() {
    let shop = Shop::open().await;
    account(&shop.app, "chief", Role::Superuser, None).await;
    let mut browser = Browser::open(shop.app.address).await;
    browser.expects("status of 400");
    browser.goto("/admin/orders/?status=REJECTED").await;
    browser.arrives_at("/admin/login/").await;
    browser.is_sound().await;
    browser.fill("Username", "chief").await;
    browser.fill("Password", "wrong horse battery").await;
    browser.click("Log in").await;
    browser.sees("Username or password is wrong").await;
    browser.is_sound().await;
    browser.fill("Password", PASSWORD).await;
    browser.click("Log in").await;
    browser.sees("No orders match").await;
    assert_eq!(browser.path().await, "/admin/orders/?status=REJECTED");
    // Over plain HTTP on this machine: a browser need not take one that is for TLS alone.
    let cookie = browser.client.get_named_cookie("afforo-session").await.unwrap();
    assert_ne!(cookie.secure(), Some(true));

    browser.click("Log out").await;
    browser.arrives_at("/admin/login/").await;
    // Nothing is left behind to be looked at by going back.
    browser.client.back().await.unwrap();
    browser.arrives_at("/admin/login/").await;
    browser.close().await;
}

#[tokio::test]
async fn viewer_sees_no_write_controls() {
    let shop = Shop::open().await;
    let (store, lamp, inventory) = shop.lamps(10).await;
    shop.app.order(store, &[(lamp, 1)]).await.created();
    account(&shop.app, "viewer", Role::Viewer, None).await;
    let mut browser = Browser::open(shop.app.address).await;
    shop.log_in(&browser, "viewer").await;
    for path in [
        "/admin/orders/",
        "/admin/stock/",
        &format!("/admin/stock/{inventory}/"),
    ] {
        browser.goto(path).await;
        assert_eq!(
            browser
                .count("main form[method=post], main a.main, main a.danger")
                .await,
            0,
            "{path}"
        );
    }
    browser.expects("status of 403");
    browser.goto("/admin/orders/new/").await;
    browser.sees("Not allowed").await;
    browser.close().await;
}

#[tokio::test]
async fn entry_of_an_ended_session_is_submitted_after_the_login() {
    let shop = Shop::open().await;
    let mut browser = shop.enter().await;
    browser.expects("status of 401");
    browser.goto("/admin/stores/new/").await;
    browser.fill("Name", "Second & Last").await;
    browser.fill("Location", "Side Street 2").await;
    sqlx::query("delete from session")
        .execute(&shop.pool)
        .await
        .unwrap();
    browser.click("Save").await;
    browser
        .sees("Your session ended. Log in again; your entry is kept.")
        .await;
    browser.is_sound().await;
    browser.fill("Username", "chief").await;
    browser.fill("Password", PASSWORD).await;
    browser.click("Log in").await;
    browser.sees("Submit your changes?").await;
    browser.sees("Side Street 2").await;
    browser.is_sound().await;
    let stores = "select count(*) from store";
    let saved: i64 = sqlx::query_scalar(stores).fetch_one(&shop.pool).await.unwrap();
    assert_eq!(saved, 0, "it is shown first");
    browser.click("Submit").await;
    browser.sees("Second & Last created.").await;
    browser.close().await;
}
