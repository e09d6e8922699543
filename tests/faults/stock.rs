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
        truth::Order,
        world::{Disk, World},
    },
    support::books::no_deadlocks,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_stock_during_orders_never_restores_sold_units() {
    let mut world = World::new("stock is set by hand", Disk::Forgets).await;
    let (all, patchers) = (size(1_000, 10_000), 8);
    let shop = world.stock(5, 1_000).await;
    // Two processes, so that rows are fought for.
    let mut programs = [
        Program::server(&["--with-worker"], &world.env()).await,
        Program::server(&[], &world.env()).await,
    ];
    let servers = [programs[0].address, programs[1].address];
    let clients = Clients::new();
    // Those who set stock do not count among the orders.
    let clerks = Clients::new();
    let truth = clients.truth.clone();
    let orders = Orders::new(&mut world.rng, &shop, all);
    let rows = sqlx::query_scalar("select id from inventory order by id");
    let rows: Vec<i64> = rows.fetch_all(&world.pool).await.unwrap();
    let set = Mutex::new(HashSet::new());
    let seed: u64 = world.rng.random();
    let clerk = async |number: usize| {
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
            let answer = clerks.send(clerks.http.patch(&url).json(&patch)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    };
    tokio::join!(
        clients.place(32, &servers, &orders),
        join_all((0..patchers).map(clerk))
    );
    let statuses = truth.statuses();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &201], "{statuses:?}");

    let adjusted: Vec<(i64, i32)> =
        sqlx::query_as("select inventory_id, quantity_after from stock_movement where kind = 'ADJUSTMENT'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let set = set.into_inner().unwrap();
    assert!(
        adjusted.iter().all(|row| set.contains(row)),
        "the ledger says what was set, and no more"
    );
    let hits = amid_orders(&world.pool).await;
    settle(&world, &truth, &mut programs, hits, Recovery::Hurried).await;
}

/// How many changes by hand are in the ledger between two orders.
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
    let mut world = World::new("20 items in any order", Disk::Forgets).await;
    let all = size(300, 4_000);
    let (store, products) = world.stock(30, i64::try_from(all).unwrap()).await;
    // Within a process orders of one store wait in line, so there are three.
    let mut programs = [
        Program::server(&["--with-worker"], &world.env()).await,
        Program::server(&[], &world.env()).await,
        Program::server(&[], &world.env()).await,
    ];
    let servers = programs.each_ref().map(|program| program.address);
    let clients = Clients::new();
    let truth = clients.truth.clone();
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
            hits += waiting_for_locks(&world.pool).await;
        }
    };
    tokio::join!(join_all((0..64).map(client)), watching);
    assert_eq!(truth.statuses().keys().collect::<Vec<_>>(), [&200, &201]);
    settle(&world, &truth, &mut programs, hits, Recovery::Hurried).await;
    no_deadlocks(&world.postgres.url("shop")).await;
}

/// How many transactions wait for a row that another one has.
async fn waiting_for_locks(pool: &PgPool) -> usize {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap();
    waiting.try_into().unwrap()
}
