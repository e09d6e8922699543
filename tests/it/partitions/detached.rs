//! Detached partitions: orders that stay do not change, and `afforo check` still finds every fault.

use std::collections::BTreeSet;

use afforo::{check, order::maintenance, partitions, seed};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::Executor;

use super::{SIZE, command, convert, kill_while_it_waits, options, skip, texts, unbalanced};
use crate::support::app::TestApp;

/// The first order that stays. Orders and movements below it are in the first partition of their table.
const KEPT: i64 = 2 * SIZE;

/// A shop with old orders in the first partition and new ones in the next. Store 2 has one old rejected order only.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let (store, other) = (app.store("Main").await, app.store("Other").await);
    let (lamp, chair) = (
        app.product("Lamp", "10.00").await,
        app.product("Chair", "5.00").await,
    );
    app.stock(store, lamp, 100).await;
    app.stock(store, chair, 100).await;
    convert(&app).await;
    for _ in 0..3 {
        app.order(store, &[(lamp, 2), (chair, 1)]).await.created();
    }
    assert_eq!(app.order(other, &[(lamp, 1)]).await.status, StatusCode::OK);
    app.pool
        .execute(
            "insert into order_confirmation select unnest(order_ids) from outbox; truncate outbox;
             update orders set created_at = '2020-02-28T23:00Z', updated_at = '2020-02-28T23:00Z';
             update stock_movement set created_at = '2020-02-28T23:00Z';
             insert into movement_count (inventory_id, latest, movements) values (1, 7, 4);
             insert into daily_order_report values ('2020-02-28', 4, 3, 1, 0, 75)",
        )
        .await
        .unwrap();
    skip(&app, KEPT - 4).await;
    for _ in 0..3 {
        app.order(store, &[(lamp, 2)]).await.created();
    }
    assert_eq!(unbalanced(&app.pool).await, []);
    app
}

async fn execute(app: &TestApp, sql: &'static str) {
    app.pool.execute(sql).await.unwrap();
}

async fn detach(app: &TestApp, before: i64) -> Result<Vec<String>, String> {
    let detached = partitions::detach(&options(app).await, before).await;
    detached
        .map(|detached| detached.partitions)
        .map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detaching_keeps_later_orders_and_all_rules() {
    let app = shop().await;
    let kept = app.get("/api/orders/?cursor=").await.column("id");
    let kept: Vec<i64> = kept
        .iter()
        .filter_map(Value::as_i64)
        .filter(|id| *id >= KEPT)
        .collect();
    let newest = app.get(&format!("/api/orders/{}/", kept[0])).await.text;

    kill_while_it_waits(&app, &["detach", "--before", "20"]).await;
    assert_eq!(app.get("/api/orders/1/").await.status, 200);
    assert_eq!(unbalanced(&app.pool).await, []);
    let detached = command(&app, &["detach", "--before", "20"]).await;
    assert_eq!(
        detached.out,
        "detached: orders_0\ndetached: order_item_0\ndetached: stock_movement_0\nThe first order is 16 now.\n",
        "{}",
        detached.err
    );
    assert_eq!(unbalanced(&app.pool).await, []);
    assert_eq!(detach(&app, 20).await, Ok(Vec::new()));

    assert_eq!(app.get("/api/orders/1/").await.status, 404);
    assert_eq!(app.get(&format!("/api/orders/{}/", kept[0])).await.text, newest);
    let orders = app.get("/api/orders/").await;
    assert_eq!(orders.body["count"], 3);
    assert_eq!(orders.column("id"), kept);
    let stats = app.get("/api/orders/stats/").await.body;
    assert_eq!(
        (&stats["total_orders"], &stats["total_revenue"]),
        (&json!(3), &json!("60.00"))
    );
    let ledger = app.get("/api/inventory/1/movements/").await;
    assert_eq!(
        (&ledger.body["count"], ledger.column("quantity_after")),
        (&json!(3), vec![json!(88), json!(90), json!(92)])
    );
    let explained = app.get("/api/inventory/1/explain/").await.body;
    assert_eq!(
        (
            &explained["terms"]["opening_balance"],
            &explained["terms"]["sold"],
            &explained["balanced"]
        ),
        (&json!(94), &json!(-6), &json!(true))
    );
    let as_of = async |at: &str| app.get(&format!("/api/inventory/as-of/?at={at}")).await;
    assert_eq!(as_of("2020-02-28T23:00:00Z").await.column("quantity"), [94, 97]);
    assert_eq!(as_of("2030-01-01T00:00:00Z").await.column("quantity"), [88, 97]);
    as_of("2020-02-28T22:59:59Z").await.is(
        400,
        json!({ "at": ["Movements until 2020-02-28T23:00:00Z are detached: send this time or a later one."] }),
    );
    for path in ["/api/products/2/", "/api/stores/2/"] {
        assert_eq!(app.delete(path).await.status, 409, "{path}");
    }
    // Nothing is lost: the detached partitions are tables.
    let tables = "select relname::text from pg_class where relname ~ '^(orders|order_item|stock_movement)_0$' and relkind = 'r'
                  union select 'order ' || id from orders_0";
    let tables = texts(&app.pool, tables).await;
    let expected = [
        "order 1",
        "order 2",
        "order 3",
        "order 4",
        "order_item_0",
        "orders_0",
        "stock_movement_0",
    ];
    assert_eq!(tables, expected.map(str::to_owned).into());

    // The next partition adds to what is noted.
    execute(
        &app,
        "insert into order_confirmation select unnest(order_ids) from outbox; truncate outbox;
         update orders set created_at = '2020-03-01Z'; update stock_movement set created_at = '2020-03-01Z'",
    )
    .await;
    skip(&app, SIZE - 1).await;
    app.order(1, &[(1, 1)]).await.created();
    let partitions = detach(&app, KEPT + SIZE).await.unwrap();
    assert_eq!(partitions, ["orders_16", "order_item_16", "stock_movement_16"]);
    assert_eq!(unbalanced(&app.pool).await, []);
    assert_eq!(app.get("/api/orders/stats/").await.body["total_orders"], 1);

    let mut connection = app.pool.acquire().await.unwrap();
    seed::clear(&mut connection).await.unwrap();
    assert_eq!(unbalanced(&app.pool).await, []);
    execute(&app, "drop table orders_0, order_item_0, stock_movement_0").await;
}

#[tokio::test]
async fn check_finds_faults_beside_detached_history() {
    let app = shop().await;
    detach(&app, KEPT).await.unwrap();
    for (fault, rule) in [
        (
            "update inventory set quantity = quantity + 1 where id = 1",
            "a quantity equals",
        ),
        (
            "update opening_balance set quantity = 1 where inventory_id = 2",
            "a quantity equals",
        ),
        (
            "update stock_movement set quantity_after = 7 where id = (select min(id) from stock_movement)",
            "movements form",
        ),
        (
            "update inventory set ordered = false where id = 2",
            "a stock row is marked",
        ),
        ("update order_tally set orders = orders + 1", "order counters"),
        ("delete from outbox", "a confirmed order has a conf"),
        (
            "insert into order_item (order_id, product_id, quantity, unit_price) values (16, 1, 1, 1)",
            "the order of an item",
        ),
        (
            "insert into daily_order_report values (current_date, 9, 9, 0, 0, 0)",
            "a daily report",
        ),
        (
            "update movement_count set latest = 1000, first_movement_id = 16",
            "movement counts",
        ),
        (
            "insert into outbox (order_ids) values ('{1}')",
            "no pending or rejected order",
        ),
    ] {
        execute(&app, fault).await;
        let mut connection = app.pool.acquire().await.unwrap();
        let broken = check::run(&mut connection).await.unwrap();
        let broken: Vec<_> = broken
            .iter()
            .filter(|checked| checked.broken > 0)
            .map(|checked| checked.rule)
            .collect();
        assert!(
            broken.iter().any(|broken| broken.starts_with(rule)),
            "{fault}: {broken:?}"
        );
    }
}

#[tokio::test]
async fn unfinished_orders_are_not_detached() {
    let app = shop().await;
    let refuse = async |sql: &'static str, reason: &str| {
        execute(&app, sql).await;
        let refused = detach(&app, KEPT).await.unwrap_err();
        assert!(refused.starts_with(reason), "{refused}");
    };
    refuse(
        "update orders set created_at = now() - interval '34 days' where id = 3",
        "order 3 is less than 35 days old",
    )
    .await;
    refuse(
        "update orders set created_at = '2020-02-28Z', status = 'PENDING' where id = 3",
        "order 3 is pending",
    )
    .await;
    refuse(
        "update orders set status = 'CONFIRMED' where id = 3; delete from order_confirmation where order_id in (2, 3);
         insert into outbox (order_ids, dead_at) values ('{2, 3, 40}', now())",
        "order 2 is in the outbox",
    )
    .await;
    refuse(
        "insert into order_confirmation values (2), (3); delete from outbox where dead_at is not null;
         insert into delivery (order_id, channel, due_at, dead_at) values (3, 'email', null, now())",
        "order 3 has an undelivered message",
    )
    .await;
    execute(&app, "truncate delivery").await;
    assert_eq!(
        detach(&app, SIZE).await,
        Ok(Vec::new()),
        "no partition ends there"
    );
    assert_eq!(unbalanced(&app.pool).await, []);
    assert_eq!(detach(&app, KEPT).await.unwrap().len(), 3);
}

#[tokio::test]
async fn movements_of_kept_orders_stay() {
    let app = shop().await;
    // The movement of a kept order is in the first partition.
    execute(
        &app,
        "update stock_movement set order_id = 17 where order_id = 3 and inventory_id = 1;
         update stock_movement set order_id = 3 where order_id = 17 and id > 16",
    )
    .await;
    assert_eq!(detach(&app, KEPT).await.unwrap(), ["orders_0", "order_item_0"]);
    assert_eq!(unbalanced(&app.pool).await, []);
    assert_eq!(app.get("/api/inventory/1/movements/").await.body["count"], 7);
}

#[tokio::test]
async fn rejecting_a_stuck_order_sees_detached_ones() {
    let app = shop().await;
    // Chairs were sold by detached orders only, and lamps of store 2 never.
    app.stock(2, 1, 10).await;
    execute(
        &app,
        "insert into orders (store_id, status, created_at) values (1, 'PENDING', now() - interval '1 h'), (2, 'PENDING', now() - interval '1 h');
         insert into order_item (order_id, product_id, quantity, unit_price)
             select id, 3 - store_id, 1, 5 from orders where status = 'PENDING';
         insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
             select i.id, o.id, 'ORDER', -1, i.quantity - 1 from orders o join inventory i using (store_id)
             where o.status = 'PENDING' and i.product_id = 3 - o.store_id;
         update inventory set quantity = quantity - 1, ordered = true where id in (2, 3)",
    )
    .await;
    detach(&app, KEPT).await.unwrap();
    assert_eq!(maintenance::reject_stuck(&app.pool).await.unwrap().len(), 2);
    assert_eq!(unbalanced(&app.pool).await, []);
    let ordered = texts(&app.pool, "select id || ' ' || ordered from inventory").await;
    assert_eq!(
        ordered,
        BTreeSet::from(["1 true", "2 true", "3 false"].map(str::to_owned))
    );
}
