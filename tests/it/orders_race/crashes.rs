//! Servers and databases that crash while orders are placed.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use devstack::Postgres;
use rustix::process::Signal;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tempfile::TempDir;

use super::{Shop, at_a_time, books_balance, server};
use crate::support::{
    app::{self, TestApp, order},
    program::{Running, afforo, eventually, on},
    servers,
};

/// Places orders of one unit each, 8 at a time. Returns the ids of acknowledged orders, and the statuses of other
/// responses.
async fn place_many(
    address: SocketAddr,
    (store, product): (i64, i64),
    count: usize,
    acknowledged: &AtomicUsize,
) -> (Vec<i64>, Vec<u16>) {
    let (client, url) = (app::client(), format!("http://{address}/api/orders/"));
    let answers = at_a_time(
        8,
        (0..count).map(async |_| {
            let request = client.post(&url).json(&order(store, &[(product, 1)]));
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            let body: serde_json::Value = response.json().await.ok()?;
            if status == 201 {
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Some((status, body["id"].as_i64()))
        }),
    )
    .await;
    let (mut placed, mut others) = (Vec::new(), Vec::new());
    for (status, id) in answers.into_iter().flatten() {
        if status == 201 {
            placed.extend(id);
        } else {
            others.push(status);
        }
    }
    (placed, others)
}

async fn are_confirmed(pool: &PgPool, orders: &[i64]) {
    let there: i64 =
        sqlx::query_scalar("select count(*) from orders where status = 'CONFIRMED' and id = any($1)")
            .bind(orders)
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(
        usize::try_from(there).unwrap(),
        orders.len(),
        "what was acknowledged is there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_server_loses_no_acknowledged_order() {
    let app = TestApp::start().await;
    let shop = Shop::open(&app, |_| 5000).await;
    let mut server = server(&app);
    let address = server.address().await;
    let acknowledged = AtomicUsize::new(0);
    let placing = place_many(address, (shop.store, shop.products[0]), 5000, &acknowledged);
    let killing = async {
        eventually("some are placed", async || {
            acknowledged.load(Ordering::Relaxed) >= 20
        })
        .await;
        server.signal(Signal::KILL);
    };
    let ((placed, others), ()) = tokio::join!(placing, killing);
    assert!((20..5000).contains(&placed.len()), "{}", placed.len());
    assert_eq!(others, Vec::<u16>::new());
    eventually("PostgreSQL has noticed", async || {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle'
                 and pid <> pg_backend_pid()",
        )
        .fetch_one(&app.pool)
        .await
        .unwrap();
        open == 0
    })
    .await;
    are_confirmed(&app.pool, &placed).await;
    books_balance(&app.pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_database_loses_no_acknowledged_order_and_is_used_again() {
    let folder = TempDir::new().unwrap();
    let postgres = Postgres::persistent(folder.path()).unwrap();
    let mut admin = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    admin.execute("create database shop").await.unwrap();
    drop(admin);
    let redis_url = servers::redis().url(servers::redis_database());
    let mut command = afforo(&["serve", "127.0.0.1:0", "--migrate", "--with-worker"]);
    on(&mut command, &postgres.url("shop"), &redis_url);
    let mut server = Running::start(&mut command);
    let address = server.address().await;
    let pool = PgPool::connect(&postgres.url("shop")).await.unwrap();
    pool.execute(
        "insert into category (name) values ('All');
         insert into product (title, price, category_id) values ('Lamp', 1.50, 1);
         insert into store (name, location) values ('Main Store', 'Main Street 1');
         insert into inventory (store_id, product_id, quantity) values (1, 1, 5000);
         insert into stock_movement (inventory_id, kind, delta, quantity_after) values (1, 'INITIAL', 5000, 5000)",
    )
    .await
    .unwrap();
    pool.close().await;

    let acknowledged = AtomicUsize::new(0);
    let placing = place_many(address, (1, 1), 500, &acknowledged);
    let crash = async {
        eventually("some are placed", async || {
            acknowledged.load(Ordering::Relaxed) >= 20
        })
        .await;
        tokio::task::block_in_place(|| postgres.kill());
        tokio::task::block_in_place(|| postgres.restart().unwrap());
    };
    let ((mut placed, others), ()) = tokio::join!(placing, crash);
    assert!(placed.len() >= 20);
    assert!(
        others.iter().all(|status| *status == 503),
        "a database that is away is no fault of ours: {others:?}"
    );
    // The server recovers by itself.
    let (more, _) = place_many(address, (1, 1), 200, &acknowledged).await;
    assert!(more.len() >= 190, "{} of 200", more.len());
    placed.extend(more);
    let pool = PgPool::connect(&postgres.url("shop")).await.unwrap();
    are_confirmed(&pool, &placed).await;
    // The relay may have claimed rows without seeing the response; these become due when their lease ends.
    pool.execute("update outbox set due_at = now()").await.unwrap();
    eventually("all are confirmed", async || {
        let owed: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&pool)
            .await
            .unwrap();
        owed == 0
    })
    .await;
    books_balance(&pool).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ends().await.code(), Some(0));
}
