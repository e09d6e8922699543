//! Failovers under load: a standby of PostgreSQL becomes the primary, behind one address or as another host of the URL, and Redis
//! becomes a replica of its replica while its connections stay open.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use tokio::{task::block_in_place, time::Instant};

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders, RETRY_DELAY},
        dice::size,
        program::Program,
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
    let (clients, others) = (Clients::new(), Clients::new());
    let (results, servers) = (clients.results.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let failovers = size(1, 3);
    let failing_over = async {
        for failover in 1..=failovers {
            results.more_acknowledged(size(100, 500)).await;
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
            results.more_acknowledged(size(100, 500)).await;
            others.results.more_read().await;
            if failover == failovers {
                break;
            }
            next = standby_of(&world.postgres).await;
        }
        orders.end();
    };
    let other_requests = other_requests(&others, server.address, shop.0, &orders);
    tokio::join!(clients.place(16, &servers, &orders), failing_over, other_requests);
    no_request_failed(&clients, &others);
    world.pool = PgPool::connect(&world.postgres.url("shop")).await.unwrap();
    settle(&world, &results, &mut [server], failovers, Recovery::Expedited).await;
}

/// The longest time from a promotion to the first order that the new primary takes.
const FIRST_ORDER: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn program_follows_the_primary_from_host_to_host() {
    let mut world = World::new("PostgreSQL fails over to another host", Disk::Replicated).await;
    let shop = world.stock(5, 100_000_000).await;
    let mut next = standby_of(&world.postgres).await;
    let mut hosts = [
        MovingAddress::of(socket(&world.postgres)).await,
        MovingAddress::of(socket(&next)).await,
    ];
    let [one, other] = [hosts[0].port, hosts[1].port];
    let url = format!(
        "postgres://postgres@127.0.0.1:{one},127.0.0.1:{other}/shop?sslmode=disable&target_session_attrs=read-write"
    );
    let mut env = world.env();
    env.retain(|(name, _)| *name != "DATABASE_URL");
    env.push(("DATABASE_URL", url));
    let mut programs = [
        Program::server(&["--with-worker"], &env).await,
        Program::worker(&env).await,
    ];
    let (clients, others) = (Clients::new(), Clients::new());
    let (results, servers) = (clients.results.clone(), [programs[0].address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let failovers = size(2, 10);
    let failing_over = async {
        for failover in 1..=failovers {
            results.more_acknowledged(size(100, 300)).await;
            if failover % 2 == 0 {
                block_in_place(|| world.postgres.kill());
            } else {
                world.postgres.pause();
            }
            promote(&next).await;
            let promoted = Instant::now();
            results.more_acknowledged(1).await;
            let first_order = promoted.elapsed();
            println!(
                "failover {failover}: an order after {} ms",
                first_order.as_millis()
            );
            assert!(first_order < FIRST_ORDER, "{first_order:?}");
            results.more_acknowledged(size(100, 300)).await;
            others.results.more_read().await;
            let former = std::mem::replace(&mut world.postgres, next);
            block_in_place(|| drop(former));
            if failover == failovers {
                break;
            }
            // The former primary becomes a standby: its data is made anew.
            next = standby_of(&world.postgres).await;
            hosts[0].move_to(socket(&next));
            hosts.reverse();
        }
        orders.end();
    };
    let other_requests = other_requests(&others, programs[0].address, shop.0, &orders);
    tokio::join!(clients.place(16, &servers, &orders), failing_over, other_requests);
    no_request_failed(&clients, &others);
    world.pool = PgPool::connect(&world.postgres.url("shop")).await.unwrap();
    settle(&world, &results, &mut programs, failovers, Recovery::Expedited).await;
}

/// Reads and writes that do not place orders, while there are orders.
async fn other_requests(others: &Clients, server: SocketAddr, store: i64, orders: &Orders) {
    let url = |path: &str| format!("http://{server}{path}");
    let reader = async |page: u64| {
        while orders.has_more() {
            let path = format!("/api/inventory/?page={page}");
            others.send(others.http.get(url(&path))).await;
        }
    };
    let writer = async |method: Method, path: &str| {
        let mut number = 0;
        while orders.has_more() {
            number += 1;
            let body = json!({ "name": format!("{method} {number}") });
            let key = format!("{method}-{number}");
            let request = others.http.request(method.clone(), url(path)).json(&body);
            let answer = others.send(request.header("idempotency-key", key)).await;
            if answer.is_none_or(|answer| !answer.status.is_success()) {
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    };
    let path = format!("/api/stores/{store}/");
    tokio::join!(
        join_all((1..=2).map(reader)),
        writer(Method::PATCH, &path),
        writer(Method::POST, "/api/categories/"),
    );
}

/// Every request was answered: with success, or with 503.
fn no_request_failed(clients: &Clients, others: &Clients) {
    let (placed, other) = (clients.results.statuses(), others.results.statuses());
    assert!(
        placed.keys().all(|status| [201, 503].contains(status)),
        "{placed:?}"
    );
    assert!(
        other.keys().all(|status| [200, 201, 404, 503].contains(status)),
        "{other:?}"
    );
    let cut = clients.results.cut() + others.results.cut();
    assert_eq!(cut, 0, "the server kept running");
    println!("orders: {placed:?}; other requests: {other:?}");
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
            results.more_acknowledged(size(100, 500)).await;
            pair.change_places().await;
            results.more_acknowledged(size(100, 500)).await;
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
