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
        truth::Truth,
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
    let mut world = World::new("PostgreSQL fails over", Disk::Keeps).await;
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
    let (truth, servers) = (clients.truth.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let failovers = size(1, 3);
    let mut folders = Vec::new();
    let failing_over = async {
        for failover in 1..=failovers {
            goes_on(&truth, size(100, 500)).await;
            let (standby, folder) = next;
            folders.push(folder);
            block_in_place(|| world.postgres.kill());
            address.move_to(socket(&standby));
            address.cut();
            if failover % 2 == 0 {
                let refused = truth.answered(503);
                until("requests are refused", async || truth.answered(503) > refused).await;
            }
            promote(&standby).await;
            let former = std::mem::replace(&mut world.postgres, standby);
            block_in_place(|| drop(former));
            goes_on(&truth, size(100, 500)).await;
            let read = readers.truth.answered(200);
            until("readers are served", async || {
                readers.truth.answered(200) > read + 20
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
    let (placed, read) = (truth.statuses(), readers.truth.statuses());
    assert!(
        placed.keys().all(|status| [201, 503].contains(status)),
        "{placed:?}"
    );
    assert!(
        read.keys().all(|status| [200, 404, 503].contains(status)),
        "{read:?}"
    );
    assert_eq!(truth.cut() + readers.truth.cut(), 0, "the server itself stayed");
    world.pool = PgPool::connect(&world.postgres.url("shop")).await.unwrap();
    settle(&world, &truth, &mut [server], failovers, Recovery::Hurried).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_becoming_a_replica_fails_no_order_or_confirmation() {
    let mut world = World::new("Redis fails over", Disk::Forgets).await;
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
    let (truth, servers) = (clients.truth.clone(), [programs[0].address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let failovers = size(1, 5);
    let confirmed = async || -> i64 {
        let count = "select count(*) from order_confirmation";
        sqlx::query_scalar(count).fetch_one(&world.pool).await.unwrap()
    };
    let failing_over = async {
        for _ in 0..failovers {
            goes_on(&truth, size(100, 500)).await;
            pair.change_places().await;
            goes_on(&truth, size(100, 500)).await;
            address.move_to(pair.new.socket());
            std::mem::swap(&mut pair.old, &mut pair.new);
            pair.ways.swap(0, 1);
            let before = confirmed().await;
            until("orders are confirmed", async || confirmed().await > before + 100).await;
        }
        orders.end();
    };
    tokio::join!(clients.place(16, &servers, &orders), failing_over);
    assert_eq!(truth.statuses().keys().collect::<Vec<_>>(), [&201]);
    assert_eq!(truth.cut(), 0);
    let recovery = size(Recovery::Hurried, Recovery::Unaided);
    settle(&world, &truth, &mut programs, failovers, recovery).await;
    let said: String = programs.iter().map(Program::said).collect();
    assert!(said.contains("read only replica"), "a replica was asked: {said}");
}

/// So many more orders are acknowledged from now on.
async fn goes_on(truth: &Truth, orders: usize) {
    let before = truth.acknowledged.load(Ordering::Relaxed);
    until("orders are placed", async || {
        truth.acknowledged.load(Ordering::Relaxed) >= before + orders
    })
    .await;
}
