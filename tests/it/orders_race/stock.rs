//! Stock that is set by hand while orders take from it.

use futures::future::{BoxFuture, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use super::{Shop, at_a_time, books_balance};
use crate::support::{
    app::{Answer, TestApp},
    locks::waiting_for_locks,
    program::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_the_threshold_during_orders_never_restores_sold_units() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 500).await;
    let path = format!("/api/inventory/{stock}/");
    let orders = at_a_time(
        16,
        (0..200).map(async |_| app.order(store, &[(product, 2)]).await),
    );
    let patches = at_a_time(
        4,
        (0..60).map(async |n| app.patch(&path, &json!({ "low_stock_threshold": n })).await),
    );
    let puts = at_a_time(
        4,
        (0..60).map(async |n| {
            app.put(
                &path,
                &json!({ "store_id": store, "product_id": product, "low_stock_threshold": n }),
            )
            .await
        }),
    );
    let (orders, patches, puts) = statuses_of(orders, patches, puts).await;
    assert!(orders.iter().all(|status| *status == 201));
    assert!(patches.iter().chain(&puts).all(|status| *status == 200));
    assert_eq!(app.quantity(stock).await, 100);
    let by_hand: i64 =
        sqlx::query_scalar("select count(*) from stock_movement where kind not in ('ORDER', 'INITIAL')")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(by_hand, 0, "no quantity was set by hand");
    books_balance(&app.pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quantity_set_during_orders_is_exact_in_the_ledger() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 50).await;
    let path = format!("/api/inventory/{stock}/");
    let orders = at_a_time(
        16,
        (0..200).map(async |_| app.order(store, &[(product, 3)]).await),
    );
    let patches = at_a_time(
        4,
        (0..60).map(async |n| app.patch(&path, &json!({ "quantity": (n * 37) % 60 })).await),
    );
    let puts = at_a_time(
        4,
        (0..60).map(async |n| {
            app.put(
                &path,
                &json!({ "store_id": store, "product_id": product, "quantity": (n * 31) % 60 }),
            )
            .await
        }),
    );
    let (orders, patches, puts) = statuses_of(orders, patches, puts).await;
    assert!(orders.iter().all(|status| [200, 201].contains(status)));
    assert!(patches.iter().chain(&puts).all(|status| *status == 200));
    books_balance(&app.pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_stock_rows_during_orders_never_fails_a_request() {
    let seed = 11;
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let app = TestApp::start().await;
    let shop = Shop::open(&app, |_| 1000).await;
    let rows: Vec<i64> = sqlx::query_scalar("select id from inventory order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    // Deleting rows frees pairs of store and product that others can move to.
    for row in &rows[6..] {
        assert_eq!(app.delete(&format!("/api/inventory/{row}/")).await.status, 204);
    }
    let moves: Vec<_> = (0..150)
        .map(|_| {
            let (row, product) = (
                rows[rng.random_range(0..6)],
                shop.products[rng.random_range(0..10)],
            );
            (format!("/api/inventory/{row}/"), json!({ "product_id": product }))
        })
        .collect();
    let moves = at_a_time(16, moves.iter().map(|(path, body)| app.patch(path, body)));
    let (ordered, store) = (&shop.products, shop.store);
    let orders: Vec<_> = (0..100)
        .map(|n| [(ordered[n % 10], 1), (ordered[(n + 1) % 10], 1)])
        .collect();
    let orders = at_a_time(8, orders.iter().map(|items| app.order(store, items)));
    let (moves, orders) = tokio::join!(moves, orders);
    for answer in &moves {
        assert!(
            [200, 400, 409].contains(&answer.status.as_u16()),
            "{} {}",
            answer.status,
            answer.text
        );
    }
    for answer in &orders {
        assert!(
            [200, 201].contains(&answer.status.as_u16()),
            "{} {}",
            answer.status,
            answer.text
        );
    }
    books_balance(&app.pool).await;
    // A sold product cannot be deleted, even if its stock row now belongs to another product.
    let sold: Vec<i64> = sqlx::query_scalar("select distinct product_id from order_item")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    let deletions = join_all(sold.iter().map(|product| {
        let path = format!("/api/products/{product}/");
        let app = &app;
        async move { app.delete(&path).await }
    }))
    .await;
    assert!(deletions.iter().all(|answer| answer.status == 409));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlocked_request_is_retried() {
    let app = TestApp::start().await;
    let shop = Shop::open(&app, |_| 10).await;
    let free = app.product("Free", "1.00").await;
    let rows: Vec<i64> = sqlx::query_scalar("select id from inventory order by id limit 4")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    // A waiting transaction checks for a deadlock once, after this time. By then the other one must wait too.
    let sql = "do $$ begin
                   execute format('alter database %I set deadlock_timeout = ''3s''', current_database());
               end $$";
    app.pool.execute(sql).await.unwrap();
    let asked = app.beside().await;
    // Another transaction holds the second row, then waits for the first without a timeout: the request must give way.
    let mut rival = PgConnection::connect(&app.database_url).await.unwrap();
    rival.execute("set deadlock_timeout = '1min'").await.unwrap();
    let (path, products) = (format!("/api/inventory/{}/", rows[2]), &shop.products);
    let ordered = [(products[1], 1), (products[0], 1)];
    let moved = json!({ "product_id": products[3] });
    let requests: [BoxFuture<'_, Answer>; 2] = [
        Box::pin(asked.order(shop.store, &ordered)),
        Box::pin(asked.patch(&path, &moved)),
    ];
    let rivals = [(rows[1], products[1], rows[0]), (rows[3], free, rows[2])];
    for ((request, expected), (held, product, wanted)) in requests.into_iter().zip([201, 200]).zip(rivals) {
        let mut tx = rival.begin().await.unwrap();
        sqlx::query("update inventory set product_id = $2 where id = $1")
            .bind(held)
            .bind(product)
            .execute(&mut *tx)
            .await
            .unwrap();
        let meanwhile = async {
            eventually("the request waits", async || {
                waiting_for_locks(&app.pool).await > 0
            })
            .await;
            sqlx::query("select from inventory where id = $1 for update")
                .bind(wanted)
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(request, meanwhile);
        assert_eq!(answer.status, expected, "{}", answer.text);
    }
    books_balance(&app.pool).await;
}

type Answers = Vec<Answer>;

async fn statuses_of(
    one: impl Future<Output = Answers>,
    two: impl Future<Output = Answers>,
    three: impl Future<Output = Answers>,
) -> (Vec<u16>, Vec<u16>, Vec<u16>) {
    let statuses = |answers: Answers| answers.iter().map(|answer| answer.status.as_u16()).collect();
    let (one, two, three) = tokio::join!(one, two, three);
    (statuses(one), statuses(two), statuses(three))
}
