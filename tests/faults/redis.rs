//! Redis hangs, crashes or loses its data while orders are placed and titles are completed.

use std::time::Duration;

use ::redis::{Client, aio::MultiplexedConnection, cmd};
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders, short_pause},
    dice::size,
    program::Program,
    until,
    world::{Disk, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_killed_or_emptied_redis_fails_no_order_or_confirmation() {
    let mut world = World::new("Redis hangs, is killed, is emptied", Disk::Volatile).await;
    let shop = world.stock(5, 100_000_000).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "RATE_LIMIT_ENABLED");
    let mut programs = [
        Program::server(&["--with-worker"], &env).await,
        Program::worker(&env).await,
    ];
    let clients = Clients::new();
    // Autocomplete requests are recorded apart from orders.
    let readers = Clients::new();
    let (results, servers) = (clients.results.clone(), [programs[0].address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let redis = Client::open(world.redis.url(0)).unwrap();
    let away = Duration::from_millis(size(700, 5_000));
    let mut hits = 0;
    let rng = &mut world.rng;
    let is_limited_again = async || {
        let limited = readers.results.answered(429);
        until("the limiter limits", async || {
            readers.results.answered(429) > limited
        })
        .await;
    };
    let is_limited_no_more = async || {
        let served = readers.results.answered(200);
        until("the limiter lets pass", async || {
            readers.results.answered(200) > served + 20
        })
        .await;
    };
    let injecting = async {
        for _ in 0..size(1, 3) {
            is_limited_again().await;
            world.redis.pause();
            assert!(connect(&redis).await.is_none(), "Redis hangs");
            sleep(away).await;
            more_orders_are_placed(&clients).await;
            is_limited_no_more().await;
            world.redis.resume();
            hits += 1;

            is_limited_again().await;
            short_pause(rng, 50).await;
            block_in_place(|| world.redis.kill());
            assert!(connect(&redis).await.is_none(), "Redis is down");
            sleep(away).await;
            more_orders_are_placed(&clients).await;
            is_limited_no_more().await;
            block_in_place(|| world.redis.restart());
            hits += 1;
            is_limited_again().await;

            let mut connection = None;
            until("Redis is up again", async || {
                connection = connect(&redis).await;
                connection.is_some()
            })
            .await;
            let mut connection = connection.unwrap();
            // The data is deleted while Redis has jobs.
            let mut size = 0;
            while size == 0 {
                size = cmd("DBSIZE").query_async(&mut connection).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            let () = cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
            more_orders_are_placed(&clients).await;
            hits += 1;
        }
        orders.end();
    };
    let url = format!("http://{}/api/products/autocomplete/?q=lam", servers[0]);
    let reading = async {
        while orders.has_more() {
            readers.send(readers.http.get(&url)).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(clients.place(16, &servers, &orders), injecting, reading);
    assert_eq!(results.statuses().keys().collect::<Vec<_>>(), [&201]);
    assert_eq!(results.cut(), 0);
    let read = readers.results.statuses();
    assert!(
        read.keys().all(|status| [200, 429].contains(status)) && read.len() == 2,
        "{read:?}"
    );
    let recovery = size(Recovery::Expedited, Recovery::ByLease);
    settle(&world, &results, &mut programs, hits, recovery).await;
}

/// Waits until 100 more orders are done.
async fn more_orders_are_placed(clients: &Clients) {
    let done = clients.results.done.load(std::sync::atomic::Ordering::Relaxed);
    clients.results.reaches(done + 100).await;
}

async fn connect(redis: &Client) -> Option<MultiplexedConnection> {
    let connect = redis.get_multiplexed_async_connection();
    let mut connection = timeout(Duration::from_millis(300), connect).await.ok()?.ok()?;
    let ping = cmd("PING").exec_async(&mut connection).await;
    ping.ok().map(|()| connection)
}
