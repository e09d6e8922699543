//! Pages of a time have all that was written then, whatever ids it has: clocks are set back, and demo data goes into the
//! past of a shop that is open.

use afforo::auth::{Role, Stores};
use sqlx::{AssertSqlSafe, Executor};

use super::browser;
use crate::support::app::TestApp;

/// Days, each with five orders or entries. Their ids follow the days, then go back, then are mixed.
const DAYS: [&str; 3] = ["2024-02-27", "2024-02-28", "2024-02-29"];

/// Histories of fifteen rows, as the number of the hour since the first day in which row `n` was written.
const HISTORIES: [(&str, &str); 4] = [
    ("in order", "n * 72 / 15"),
    ("backwards", "71 - n * 72 / 15"),
    ("from the middle on, then before", "(n * 72 / 15 + 36) % 72"),
    ("mixed", "(n * 7 % 15) * 72 / 15"),
];

#[tokio::test]
async fn orders_of_a_day_are_listed_and_exported_in_any_id_order() {
    for (history, hour) in HISTORIES {
        let app = TestApp::start().await;
        app.store("Main").await;
        let sql = format!(
            "insert into orders (store_id, status, created_at)
             select 1, 'REJECTED', timestamptz '2024-02-27 00:30Z' + ({hour}) * interval '1 hour' from generate_series(0, 14) n"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&app.pool).await.unwrap();
        let mut browser = browser(&app, Role::Viewer).await;
        for (number, day) in DAYS.into_iter().enumerate() {
            for (filter, expected) in [
                (format!("from={day}&to={day}"), 5),
                (format!("from={day}"), 15 - 5 * number),
                (format!("to={day}"), 5 + 5 * number),
            ] {
                let list = browser.page(&format!("/admin/orders/?{filter}")).await;
                let listed = list.matches(r#"<tr id="order-"#).count();
                let file = browser.page(&format!("/admin/orders/export/?{filter}")).await;
                let exported = file.lines().count() - 1;
                assert_eq!((listed, exported), (expected, expected), "{history}: {filter}");
            }
        }
    }
}

#[tokio::test]
async fn overview_counts_orders_of_the_last_hours_in_any_id_order() {
    let app = TestApp::start().await;
    let store = app.store("Main").await;
    let lamp = app.product("Lamp", "2.50").await;
    app.stock(store, lamp, 0).await;
    assert_eq!(app.order(store, &[(lamp, 1)]).await.status, 200);
    // A shop that is open, into which a month of demo data is made.
    app.pool
        .execute(
        "insert into orders (store_id, status, created_at)
         select 1, 'CONFIRMED', now() - n * interval '10 minutes' from generate_series(1, 3) n;
         insert into orders (store_id, status, created_at)
         select 1, 'CONFIRMED', now() - interval '30 days' + n * interval '14 hours' from generate_series(1, 45) n",
    )
    .await
    .unwrap();
    let page = browser(&app, Role::Viewer).await.page("/admin/").await;
    assert!(page.contains("25.0 %"), "one of four was rejected: {page}");
    assert!(
        page.contains("Lamp is out of stock in Main: 1 order was rejected"),
        "{page}"
    );
}

#[tokio::test]
async fn audit_entries_of_a_day_are_listed_in_any_id_order() {
    let app = TestApp::start().await;
    for (history, hour) in HISTORIES {
        let action = history.replace([' ', ','], "");
        let sql = format!(
            "insert into audit_log (id, at, action) overriding system value
             select (select max(id) from audit_log) + (n + 1) * 200000, timestamptz '2024-02-27 00:30Z' + ({hour}) * interval '1 hour',
                 'product.{action}' from generate_series(0, 14) n"
        );
        app.key(&[], Stores::All).await;
        sqlx::query(AssertSqlSafe(sql)).execute(&app.pool).await.unwrap();
    }
    let mut browser = browser(&app, Role::Superuser).await;
    for (history, _) in HISTORIES {
        let action = history.replace([' ', ','], "");
        for (number, day) in DAYS.into_iter().enumerate() {
            for (filter, expected) in [
                (format!("from={day}&to={day}"), 5),
                (format!("from={day}"), 15 - 5 * number),
                (format!("to={day}"), 5 + 5 * number),
            ] {
                let path = format!("/admin/audit/?action=product.{action}&{filter}");
                let listed = browser
                    .page(&path)
                    .await
                    .matches(r#"<td class="side"><a href="/admin/audit/"#)
                    .count();
                assert_eq!(listed, expected, "{history}: {filter}");
            }
        }
    }
}
