//! The overview: its figures, and what needs attention.

use afforo::{auth::Role, server::Limits};

use super::{Browser, account, browser, execute};
use crate::support::app::{TestApp, production};

/// The figures of the tiles, each with where it leads.
fn tiles(page: &str) -> Vec<(String, String)> {
    let tiles = page.split("<a class=\"tile").skip(1);
    tiles
        .map(|tile| {
            let link = tile.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
            let value = tile
                .split("class=\"value\">")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap();
            (value.to_owned(), link.replace("&#38;", "&"))
        })
        .collect()
}

fn values(page: &str) -> Vec<String> {
    tiles(page).into_iter().map(|(value, _)| value).collect()
}

#[tokio::test]
async fn empty_overview_says_all_is_well() {
    let app = TestApp::start().await;
    let page = browser(&app, Role::Viewer).await.page("/admin/").await;
    assert_eq!(values(&page), ["0", "0.00", "–", "0", "0", "0", "0"]);
    assert!(
        page.contains("All is well") && page.contains("No orders yet"),
        "{page}"
    );
}

#[tokio::test]
async fn figures_cover_permitted_stores_and_link_to_what_they_count() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let lamp = app.product("Lamp", "2.50").await;
    app.stock(here, lamp, 2).await;
    app.stock(there, lamp, 100).await;
    // Of the day before: it is not counted.
    execute(
        &app,
        "insert into orders (store_id, status, total_amount, created_at)
         select id, status, 100, now() - interval '25 hours' from store, unnest(array['CONFIRMED', 'REJECTED']) status",
    )
    .await;
    app.order(here, &[(lamp, 2)]).await.created();
    app.order(here, &[(lamp, 1)]).await;
    app.order(there, &[(lamp, 3)]).await.created();
    account(&app, "bound", Role::Viewer, Some(vec![here])).await;
    let mut all = browser(&app, Role::Staff).await;
    let mut bound = Browser::log_in(&app, "bound").await;
    let page = all.page("/admin/").await;
    assert_eq!(values(&page)[..5], ["3", "12.50", "33.3 %", "1", "1"]);
    assert!(
        page.contains(">1<") && page.contains("2 confirmed, 1 rejected"),
        "{page}"
    );
    let page = bound.page("/admin/").await;
    assert_eq!(values(&page)[..5], ["2", "5.00", "50.0 %", "1", "1"]);
    assert!(!page.contains("There"), "{page}");
    for (value, link) in tiles(&page) {
        let answer = bound.get(&link).await;
        assert_eq!(answer.status, 200, "{value} {link}");
        if link.contains("REJECTED") {
            assert_eq!(answer.text.matches(r#"<tr id="order-"#).count(), 1, "{link}");
        }
    }
    for (value, link) in tiles(&all.page("/admin/").await) {
        let (path, place) = link.split_once('#').unwrap_or((&link, ""));
        let answer = all.get(path).await;
        assert_eq!(answer.status, 200, "{value} {link}");
        assert!(
            place.is_empty() || answer.text.contains(&format!(r#"id="{place}""#)),
            "{value} {link}"
        );
    }
    assert!(
        page.contains("Lamp is out of stock in Here: 1 order was rejected"),
        "{page}"
    );
    app.order(there, &[(lamp, 1)]).await.created();
    assert_eq!(values(&all.page("/admin/").await)[..2], ["4", "15.00"]);
    assert_eq!(values(&bound.page("/admin/").await)[..2], ["2", "5.00"]);
}

#[tokio::test]
async fn dead_letters_and_late_confirmations_need_attention() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    app.stock(store, lamp, 100).await;
    let order = app.order(store, &[(lamp, 1)]).await.created();
    let mut browser = browser(&app, Role::Viewer).await;
    assert!(browser.page("/admin/").await.contains("All is well"));
    execute(
        &app,
        "update outbox set created_at = now() - interval '5 minutes'",
    )
    .await;
    let page = browser.page("/admin/").await;
    assert!(
        page.contains("No worker is running") && page.contains("5 min"),
        "{page}"
    );
    execute(&app, "update outbox set dead_at = now()").await;
    sqlx::query(
        "insert into delivery (order_id, channel, due_at, dead_at) values ($1, 'email', null, now())",
    )
    .bind(order)
    .execute(&app.pool)
    .await
    .unwrap();
    let page = browser.page("/admin/").await;
    assert!(page.contains("1 order confirmation failed."), "{page}");
    assert!(page.contains("1 email delivery failed."), "{page}");
    assert_eq!(values(&page)[6], "2");
}

#[tokio::test]
async fn overview_works_without_redis() {
    let app = TestApp::start_with_redis("redis://127.0.0.1:1/0", production(), Limits::default()).await;
    let page = browser(&app, Role::Viewer).await.page("/admin/").await;
    assert!(page.contains("Redis does not answer"), "{page}");
    assert_eq!(values(&page)[5..], ["–", "0+"]);
}
