//! Failovers under load: a standby of PostgreSQL becomes the primary, and Redis becomes a replica of its replica while its
//! connections stay open.

use std::sync::atomic::Ordering;

use futures::future::join_all;
use sqlx::PgPool;
use tokio::task::block_in_place;

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders},
        dice::size,
        program::Program,
        results::Results,
        until,
        world::{Disk, World},
    },
    support::{
        moving::MovingAddress,
        redis::RedisPair,
        standby::{promote, socket, standby_of},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promoted_standby_has_every_order_and_accepts_new_ones() {
    let mut world = World::new("PostgreSQL fails over", Disk::Durable).await;
    let shop = world.stock(5, 100_000_000).await;
    let mut next = standby_of(&world.postgres).await;
    let address = MovingAddress::of(socket(&world.postgres)).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "DATABASE_URL");
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/shop?sslmode=disable",
        address.port
    );
    env.push(("DATABASE_URL", url));
    let server = Program::server(&["--with-worker"], &env).await;
    let (clients, readers) = (Clients::new(), Clients::new());
    let (results, servers) = (clients.results.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let failovers = size(1, 3);
    let failing_over = async {
        for failover in 1..=failovers {
            more_orders_are_placed(&results, size(100, 500)).await;
            let standby = next;
            block_in_place(|| world.postgres.kill());
            address.move_to(socket(&standby));
            address.cut();
            if failover % 2 == 0 {
                let refused = results.answered(503);
                until("requests are refused", async || results.answered(503) > refused).await;
            }
            promote(&standby).await;
            let former = std::mem::replace(&mut world.postgres, standby);
            block_in_place(|| drop(former));
            more_orders_are_placed(&results, size(100, 500)).await;
            let read = readers.results.answered(200);
            until("readers are served", async || {
                readers.results.answered(200) > read + 20
            })
            .await;
            if failover == failovers {
                break;
            }
            next = standby_of(&world.postgres).await;
        }
        orders.end();
    };
    let reader = async |page: u64| {
        while orders.has_more() {
            let url = format!("http://{}/api/inventory/?page={page}", servers[0]);
            readers.send(readers.http.get(&url)).await;
        }
    };
    let reading = join_all((1..=2).map(reader));
    tokio::join!(clients.place(16, &servers, &orders), failing_over, reading);
    let (placed, read) = (results.statuses(), readers.results.statuses());
    assert!(
        placed.keys().all(|status| [201, 503].contains(status)),
        "{placed:?}"
    );
    assert!(
        read.keys().all(|status| [200, 404, 503].contains(status)),
        "{read:?}"
    );
    assert_eq!(
        results.cut() + readers.results.cut(),
        0,
        "the server kept running"
    );
    world.pool = PgPool::connect(&world.postgres.url("shop")).await.unwrap();
    settle(&world, &results, &mut [server], failovers, Recovery::Expedited).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_becoming_a_replica_fails_no_order_or_confirmation() {
    let mut world = World::new("Redis fails over", Disk::Volatile).await;
    let shop = world.stock(5, 100_000_000).await;
    let mut pair = RedisPair::start().await;
    let address = MovingAddress::of(pair.old.socket()).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "REDIS_URL");
    env.push(("REDIS_URL", format!("redis://127.0.0.1:{}/0", address.port)));
    let mut programs = [
        Program::server(&["--with-worker"], &env).await,
        Program::worker(&env).await,
    ];
    let clients = Clients::new();
    let (results, servers) = (clients.results.clone(), [programs[0].address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let failovers = size(1, 5);
    let confirmed = async || -> i64 {
        let count = "select count(*) from order_confirmation";
        sqlx::query_scalar(count).fetch_one(&world.pool).await.unwrap()
    };
    let failing_over = async {
        for _ in 0..failovers {
            more_orders_are_placed(&results, size(100, 500)).await;
            pair.change_places().await;
            more_orders_are_placed(&results, size(100, 500)).await;
            address.move_to(pair.new.socket());
            std::mem::swap(&mut pair.old, &mut pair.new);
            pair.ways.swap(0, 1);
            let before = confirmed().await;
            until("orders are confirmed", async || confirmed().await > before + 100).await;
        }
        orders.end();
    };
    tokio::join!(clients.place(16, &servers, &orders), failing_over);
    assert_eq!(results.statuses().keys().collect::<Vec<_>>(), [&201]);
    assert_eq!(results.cut(), 0);
    let recovery = size(Recovery::Expedited, Recovery::ByLease);
    settle(&world, &results, &mut programs, failovers, recovery).await;
    let output: String = programs.iter().map(Program::output).collect();
    assert!(
        output.contains("read only replica"),
        "a replica was asked: {output}"
    );
}

/// Waits until `orders` more orders are acknowledged.
async fn more_orders_are_placed(results: &Results, orders: usize) {
    let before = results.acknowledged.load(Ordering::Relaxed);
    until("orders are placed", async || {
        results.acknowledged.load(Ordering::Relaxed) >= before + orders
    })
    .await;
}
