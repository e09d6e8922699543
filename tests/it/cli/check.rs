//! `afforo check`

use sqlx::AssertSqlSafe;

use super::{TestApp, afforo, run};
use crate::support::program::Said;

async fn check(app: &TestApp) -> Said {
    run(afforo(&["check"]).env("DATABASE_URL", &app.database_url)).await
}

#[tokio::test]
async fn books_that_agree_pass() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
    app.stock(store, lamp, 12).await;
    app.order(store, &[(lamp, 3)]).await.created();
    let said = check(&app).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(
        said.out.lines().count() > 5 && said.out.lines().all(|line| line.starts_with("ok     ")),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn whatever_does_not_agree_is_named() {
    let cases = [
        (
            "insert into order_tally values (1, 'CONFIRMED', 1, 0)",
            "the tally of orders",
            "store 1, CONFIRMED",
        ),
        (
            "update order_tally set amount = 0",
            "the tally of orders",
            "store 1, CONFIRMED",
        ),
        (
            "delete from order_tally",
            "the tally of orders",
            "store 1, CONFIRMED",
        ),
        (
            "update stock_tally set low = low + 1",
            "the tally of stock",
            "store 1",
        ),
        ("delete from product_tally", "the tally of products", "category 1"),
        (
            "insert into product_tally values (7, 1, 0)",
            "the tally of products",
            "category 7",
        ),
        (
            "insert into movement_count values (1, 1000000, 77)",
            "the noted number of movements",
            "inventory 1",
        ),
        (
            "update inventory set quantity = 8",
            "stock is what the ledger",
            "inventory 1",
        ),
        ("delete from inventory", "stock is what the ledger", "inventory 1"),
        (
            "update order_item set unit_price = 1",
            "a confirmed order costs",
            "order 1",
        ),
        ("update order_item set order_id = 7", "an item belongs", "item 1"),
        (
            "delete from stock_movement where order_id = 1",
            "a confirmed order took",
            "order 1",
        ),
        (
            "delete from outbox",
            "a confirmed order has its confirmation",
            "order 1",
        ),
        (
            "insert into outbox (order_ids) values ('{2}')",
            "no other order",
            "order 2",
        ),
        (
            "insert into order_confirmation (order_id) values (9)",
            "no other order",
            "order 9",
        ),
        (
            "insert into delivery (order_id, channel) values (1, 'email')",
            "whoever is told",
            "delivery 1",
        ),
    ];
    for (wrong, rule, record) in cases {
        let app = TestApp::start().await;
        let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
        app.stock(store, lamp, 12).await;
        app.order(store, &[(lamp, 3)]).await.created();
        assert_eq!(app.order(store, &[(lamp, 99)]).await.status, 200);
        sqlx::query(AssertSqlSafe(wrong))
            .execute(&app.pool)
            .await
            .unwrap();
        let said = check(&app).await;
        assert_eq!(said.code, Some(1), "{wrong}");
        let broken = said
            .out
            .lines()
            .find(|line| line.starts_with(&format!("BROKEN {rule}")));
        let broken = broken.unwrap_or_else(|| panic!("{wrong}: {}", said.out));
        assert!(broken.contains(record), "{wrong}: {broken}");
    }
}

#[tokio::test]
async fn a_schema_that_is_not_up_to_date_is_not_checked() {
    let database = crate::support::servers::empty_database().await;
    let said = run(afforo(&["check"]).env("DATABASE_URL", database.url())).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("run `afforo migrate` first"), "{}", said.err);
}
