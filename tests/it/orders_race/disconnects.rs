//! Clients that disconnect while their order is placed.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Shop, at_a_time, books_balance};
use crate::support::{
    app::{TestApp, raw_order},
    program::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_leave_consistent_data_and_no_transaction() {
    let seed = 21;
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let app = TestApp::start().await;
    let shop = Shop::open(&app, |_| 300).await;
    let attempts: Vec<_> = (0..200)
        .map(|_| {
            let first = rng.random_range(0..7);
            let items = shop.items(&[(first + 2, 1), (first, 1), (first + 1, 2)]);
            let request = raw_order(app.address, shop.store, &items);
            // Some clients disconnect in the middle of the request.
            let sent = if rng.random_bool(0.1) {
                request.len() / 2
            } else {
                request.len()
            };
            (request, sent, Duration::from_micros(rng.random_range(0..20_000)))
        })
        .collect();
    let going_away = attempts.iter().map(|(request, sent, wait)| async {
        let mut connection = TcpStream::connect(app.address).await.unwrap();
        connection.write_all(&request.as_bytes()[..*sent]).await.unwrap();
        tokio::time::sleep(*wait).await;
        drop(connection);
    });
    at_a_time(8, going_away).await;

    let mut watch = PgConnection::connect(&app.database_url).await.unwrap();
    eventually(
        "every connection is idle, outside of any transaction",
        async || {
            let busy: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'",
            )
            .fetch_one(&mut watch)
            .await
            .unwrap();
            busy == 0
        },
    )
    .await;
    books_balance(&app.pool).await;

    // Orders acknowledged from now on are really stored: the test uses every connection of both pools and checks from outside.
    let placed = at_a_time(
        32,
        (0..64).map(async |_| app.order(shop.store, &shop.items(&[(9, 1)])).await),
    )
    .await;
    let orders: Vec<i64> = placed.iter().map(crate::support::app::Answer::created).collect();
    let names: Vec<String> = (0..64).map(|n| format!("Written {n}")).collect();
    let writes = names.iter().map(async |name| {
        app.post("/api/categories/", &json!({ "name": name }))
            .await
            .created()
    });
    at_a_time(32, writes).await;
    let there: (i64, i64) = sqlx::query_as(
        "select (select count(*) from orders where id = any($1)), (select count(*) from category where name = any($2))",
    )
    .bind(&orders)
    .bind(&names)
    .fetch_one(&mut watch)
    .await
    .unwrap();
    assert_eq!(there, (64, 64));
    books_balance(&app.pool).await;
}
