//! Counts and statistics come from counters, and always equal the counted rows.

use std::sync::atomic::{AtomicBool, Ordering};

use afforo::counters;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::{Executor, PgPool};

use crate::support::app::TestApp;

/// Rows of all tallies.
async fn rows(pool: &PgPool) -> i64 {
    let count = "select (select count(*) from order_tally) + (select count(*) from stock_tally)
                     + (select count(*) from product_tally)";
    sqlx::query_scalar(count).fetch_one(pool).await.unwrap()
}

async fn count(app: &TestApp, path: &str) -> i64 {
    app.get(path).await.body["count"].as_i64().unwrap()
}

#[tokio::test]
async fn random_operations_keep_the_check_rules() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let app = TestApp::start().await;
    let categories = [app.category("Lamps").await, app.category("Tables").await];
    let mut stores = vec![app.store("Main").await];
    let mut products = vec![app.product_in(categories[0], "Lamp", "10.00").await];
    for step in 0..150 {
        let store = stores[rng.random_range(0..stores.len())];
        let product = products[rng.random_range(0..products.len())];
        let category = categories[rng.random_range(0..2)];
        let row: Option<i64> = sqlx::query_scalar("select id from inventory order by random() limit 1")
            .fetch_optional(&app.pool)
            .await
            .unwrap();
        let row = row.unwrap_or(0);
        match rng.random_range(0..12) {
            0 => stores.push(app.store(&format!("Store {step}")).await),
            1 => products.push(app.product_in(category, &format!("Thing {step}"), "3.50").await),
            // Some of these writes are refused: the pair exists, the row is deleted, or orders refer to it.
            2 | 3 => {
                let stock =
                    json!({ "store_id": store, "product_id": product, "quantity": rng.random_range(0..30) });
                app.post("/api/inventory/", &stock).await;
            }
            4 => {
                let change = json!({ "quantity": rng.random_range(0..30), "low_stock_threshold": rng.random_range(0..20) });
                app.patch(&format!("/api/inventory/{row}/"), &change).await;
            }
            5 => {
                let elsewhere = json!({ "store_id": store, "product_id": product });
                app.patch(&format!("/api/inventory/{row}/"), &elsewhere).await;
            }
            6 => {
                let change = json!({ "category_id": category, "is_active": rng.random_bool(0.7), "title": format!("New {step}") });
                app.patch(&format!("/api/products/{product}/"), &change).await;
            }
            7 if rng.random_bool(0.3) => {
                app.delete(&format!("/api/products/{product}/")).await;
            }
            8 if rng.random_bool(0.3) => {
                app.delete(&format!("/api/inventory/{row}/")).await;
            }
            9 if rng.random_bool(0.2) => {
                app.delete(&format!("/api/stores/{store}/")).await;
            }
            10 => {
                counters::compact(&app.pool).await.unwrap();
            }
            _ => {
                app.order(store, &[(product, rng.random_range(1..8))]).await;
            }
        }
    }
    assert!(app.unbalanced().await.is_empty());
    counters::compact(&app.pool).await.unwrap();
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn direct_sql_writes_are_counted() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 12).await;
    let write = async |sql: &'static str| sqlx::query(sql).execute(&app.pool).await.map(drop).unwrap();
    write("insert into orders (store_id, status) values (1, 'PENDING'), (1, 'PENDING'), (1, 'REJECTED')")
        .await;
    write("update orders set status = 'REJECTED' where id = 2").await;
    write("delete from orders where id = 1").await;
    let stats = app.get("/api/orders/stats/").await.body;
    assert_eq!(
        (&stats["total_orders"], &stats["pending_orders"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(count(&app, "/api/orders/?status=rejected").await, 2);
    assert!(app.unbalanced().await.is_empty());

    write("truncate stock_count, stock_count_line, stock_count_entry, transfer, transfer_line, reservation, reservation_item, orders, order_item, order_document, order_line_progress, stock_movement, inventory, product_code, product, category, store")
        .await;
    for list in ["orders", "inventory", "products", "stores", "categories"] {
        assert_eq!(count(&app, &format!("/api/{list}/")).await, 0, "{list}");
    }
    assert_eq!(rows(&app.pool).await, 0);
}

#[tokio::test]
async fn compacting_leaves_one_row_per_counter_and_no_zeros() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    let row = app.stock(store, lamp, 12).await;
    for _ in 0..5 {
        app.order(store, &[(lamp, 1)]).await.created();
        assert_eq!(app.order(store, &[(lamp, 99)]).await.status, 200);
    }
    let other = app.product("Table", "70.00").await;
    app.delete(&format!("/api/products/{other}/"))
        .await
        .is(204, json!(null));
    let before = app.get("/api/orders/stats/").await.body;
    assert!(counters::compact(&app.pool).await.unwrap() > 0);
    // Confirmed and rejected orders, the stock of a store, the products of the category that has one.
    assert_eq!(rows(&app.pool).await, 4);
    assert_eq!(app.get("/api/orders/stats/").await.body, before);
    assert_eq!(
        counters::compact(&app.pool).await.unwrap(),
        0,
        "there is nothing left to do"
    );
    assert_eq!(app.quantity(row).await, 7);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn stats_stay_correct_while_orders_run_and_counters_are_compacted() {
    let app = TestApp::start().await;
    let lamp = app.product("Lamp", "2.00").await;
    let stores = [app.store("East").await, app.store("West").await];
    for store in stores {
        app.stock(store, lamp, 1_000_000).await;
    }
    let done = AtomicBool::new(false);
    let orders = async {
        for _ in 0..40 {
            let order = async |store| app.order(store, &[(lamp, 1)]).await;
            let placed = tokio::join!(
                order(stores[0]),
                order(stores[1]),
                order(stores[0]),
                order(stores[1])
            );
            for answer in [placed.0, placed.1, placed.2, placed.3] {
                answer.created();
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let compact = async || {
        let mut compacted = 0;
        while !done.load(Ordering::Relaxed) {
            compacted += counters::compact(&app.pool).await.unwrap();
        }
        compacted
    };
    let read = async {
        let mut seen = 0;
        while !done.load(Ordering::Relaxed) {
            let stats = app.get("/api/orders/stats/").await.body;
            let total = stats["total_orders"].as_i64().unwrap();
            assert!(total >= seen, "{total} orders after {seen}");
            assert_eq!(stats["total_revenue"], format!("{}.00", 2 * total), "{stats}");
            seen = total;
        }
        seen
    };
    let ((), one, other, seen) = tokio::join!(orders, compact(), compact(), read);
    assert!(one + other > 0 && seen > 0, "the writers ran concurrently");
    let stats = app.get("/api/orders/stats/").await.body;
    assert_eq!(
        (&stats["total_orders"], &stats["total_revenue"]),
        (&json!(160), &json!("320.00"))
    );
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn backlog_of_counter_rows_is_compacted_in_portions() {
    const GATHERED: i64 = 150_000;
    let app = TestApp::start().await;
    app.pool
        .execute(
            "insert into order_tally select 1 + n % 2, 'CONFIRMED', 1, 2 from generate_series(1, 150000) n;
             create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
             create trigger refuse before delete on order_tally for each row when (old.store_id = 3)
                 execute function refuse();
             insert into order_tally values (3, 'CONFIRMED', 1, 2), (3, 'CONFIRMED', 1, 2)",
        )
        .await
        .unwrap();
    assert!(counters::compact(&app.pool).await.is_err());
    let left = rows(&app.pool).await;
    assert!(
        left < GATHERED / 2,
        "portions before the one that failed stay compacted: {left}"
    );
    app.pool
        .execute("drop trigger refuse on order_tally")
        .await
        .unwrap();
    while counters::compact(&app.pool).await.unwrap() > 0 {}
    assert_eq!(rows(&app.pool).await, 3, "one for each store");
    let stats = app.get("/api/orders/stats/").await.body;
    assert_eq!(
        (&stats["total_orders"], &stats["total_revenue"]),
        (&json!(GATHERED + 2), &json!("300004.00"))
    );
}
