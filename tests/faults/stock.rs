//! Stock changes by hand, and orders of many products, concurrent with orders of the same products.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use sqlx::PgPool;

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders},
        dice::size,
        program::Program,
        results::Order,
        world::{Disk, World},
    },
    support::{books::no_deadlocks, locks::waiting_for_locks},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_stock_during_orders_never_restores_sold_units() {
    let mut world = World::new("stock is set by hand", Disk::Volatile).await;
    let (all, patchers) = (size(1_000, 10_000), 8);
    let shop = world.stock(5, 1_000).await;
    // Two processes, so that they compete for rows.
    let mut programs = [
        Program::server(&["--with-worker"], &world.env()).await,
        Program::server(&[], &world.env()).await,
    ];
    let servers = [programs[0].address, programs[1].address];
    let clients = Clients::new();
    // Stock changes are recorded apart from orders.
    let editors = Clients::new();
    let results = clients.results.clone();
    let orders = Orders::new(&mut world.rng, &shop, all);
    let rows = sqlx::query_scalar("select id from inventory order by id");
    let rows: Vec<i64> = rows.fetch_all(&world.pool).await.unwrap();
    let set = Mutex::new(HashSet::new());
    let seed: u64 = world.rng.random();
    let editor = async |number: usize| {
        let mut rng = StdRng::seed_from_u64(seed + number as u64);
        while orders.has_more() {
            let row = rows[rng.random_range(0..rows.len())];
            let url = format!("http://{}/api/inventory/{row}/", servers[number % 2]);
            let quantity = rng.random_range(0..2_000);
            let patch = if rng.random_bool(0.5) {
                set.lock().unwrap().insert((row, quantity));
                json!({ "quantity": quantity })
            } else {
                json!({ "low_stock_threshold": quantity })
            };
            let answer = editors.send(editors.http.patch(&url).json(&patch)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    };
    tokio::join!(
        clients.place(32, &servers, &orders),
        join_all((0..patchers).map(editor))
    );
    let statuses = results.statuses();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &201], "{statuses:?}");

    let adjusted: Vec<(i64, i32)> =
        sqlx::query_as("select inventory_id, quantity_after from stock_movement where kind = 'ADJUSTMENT'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let set = set.into_inner().unwrap();
    assert!(
        adjusted.iter().all(|row| set.contains(row)),
        "the ledger has only quantities that were set"
    );
    let hits = amid_orders(&world.pool).await;
    settle(&world, &results, &mut programs, hits, Recovery::Expedited).await;
}

/// Counts the adjustments between two orders in the ledger.
async fn amid_orders(pool: &PgPool) -> usize {
    let amid: i64 = sqlx::query_scalar(
        "select count(*) from (
             select kind, lag(kind) over ledger as before, lead(kind) over ledger as after
             from stock_movement window ledger as (partition by inventory_id order by id)
         ) m where (before, kind, after) = ('ORDER', 'ADJUSTMENT', 'ORDER')",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    amid.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_twenty_products_in_random_order_never_deadlock() {
    let mut world = World::new("20 items in any order", Disk::Volatile).await;
    let all = size(300, 4_000);
    let (store, products) = world.stock(30, i64::try_from(all).unwrap()).await;
    // A process places the orders of a store one after the other, so the test needs three.
    let mut programs = [
        Program::server(&["--with-worker"], &world.env()).await,
        Program::server(&[], &world.env()).await,
        Program::server(&[], &world.env()).await,
    ];
    let servers = programs.each_ref().map(|program| program.address);
    let clients = Clients::new();
    let results = clients.results.clone();
    let next = AtomicUsize::new(0);
    let seed: u64 = world.rng.random();
    let client = async |_: usize| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= all {
                return;
            }
            let mut rng = StdRng::seed_from_u64(seed + number as u64);
            let mut items = products.clone();
            items.shuffle(&mut rng);
            let items = items[..20]
                .iter()
                .map(|product| (*product, rng.random_range(1..=3)));
            let order = Order {
                store,
                items: items.collect(),
            };
            clients.place_one(servers[number % 3], order).await;
        }
    };
    let mut hits = 0;
    let watching = async {
        while next.load(Ordering::Relaxed) < all {
            hits += usize::try_from(waiting_for_locks(&world.pool).await).unwrap();
        }
    };
    tokio::join!(join_all((0..64).map(client)), watching);
    assert_eq!(results.statuses().keys().collect::<Vec<_>>(), [&200, &201]);
    settle(&world, &results, &mut programs, hits, Recovery::Expedited).await;
    no_deadlocks(&world.postgres.url("shop")).await;
}
