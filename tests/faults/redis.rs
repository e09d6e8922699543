//! Redis hangs, crashes or loses its data while orders are placed and titles are completed.

use std::time::Duration;

use ::redis::{Client, aio::MultiplexedConnection, cmd};
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders, a_moment},
    dice::size,
    program::Program,
    until,
    world::{Disk, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_killed_or_emptied_redis_fails_no_order_or_confirmation() {
    let mut world = World::new("Redis hangs, is killed, is emptied", Disk::Forgets).await;
    let shop = world.stock(5, 100_000_000).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "RATE_LIMIT_ENABLED");
    let mut programs = [
        Program::server(&["--with-worker"], &env).await,
        Program::worker(&env).await,
    ];
    let clients = Clients::new();
    // Those who complete titles do not count among the orders.
    let readers = Clients::new();
    let (truth, servers) = (clients.truth.clone(), [programs[0].address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let redis = Client::open(world.redis.url(0)).unwrap();
    let away = Duration::from_millis(size(700, 5_000));
    let mut hits = 0;
    let rng = &mut world.rng;
    let is_limited_again = async || {
        let limited = readers.truth.answered(429);
        until("the limiter limits", async || {
            readers.truth.answered(429) > limited
        })
        .await;
    };
    let is_limited_no_more = async || {
        let served = readers.truth.answered(200);
        until("the limiter lets pass", async || {
            readers.truth.answered(200) > served + 20
        })
        .await;
    };
    let tormenting = async {
        for _ in 0..size(1, 3) {
            is_limited_again().await;
            world.redis.pause();
            assert!(connect(&redis).await.is_none(), "it hangs");
            sleep(away).await;
            goes_on(&clients).await;
            is_limited_no_more().await;
            world.redis.resume();
            hits += 1;

            is_limited_again().await;
            a_moment(rng, 50).await;
            block_in_place(|| world.redis.kill());
            assert!(connect(&redis).await.is_none(), "it is dead");
            sleep(away).await;
            goes_on(&clients).await;
            is_limited_no_more().await;
            block_in_place(|| world.redis.restart());
            hits += 1;
            is_limited_again().await;

            let mut connection = None;
            until("it is back", async || {
                connection = connect(&redis).await;
                connection.is_some()
            })
            .await;
            let mut connection = connection.unwrap();
            // While jobs are in it.
            let mut size = 0;
            while size == 0 {
                size = cmd("DBSIZE").query_async(&mut connection).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            let () = cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
            goes_on(&clients).await;
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
    tokio::join!(clients.place(16, &servers, &orders), tormenting, reading);
    assert_eq!(truth.statuses().keys().collect::<Vec<_>>(), [&201]);
    assert_eq!(truth.cut(), 0);
    let read = readers.truth.statuses();
    assert!(
        read.keys().all(|status| [200, 429].contains(status)) && read.len() == 2,
        "{read:?}"
    );
    let recovery = size(Recovery::Hurried, Recovery::Unaided);
    settle(&world, &truth, &mut programs, hits, recovery).await;
}

/// Orders are placed from now on as well.
async fn goes_on(clients: &Clients) {
    let done = clients.truth.done.load(std::sync::atomic::Ordering::Relaxed);
    clients.truth.reaches(done + 100).await;
}

async fn connect(redis: &Client) -> Option<MultiplexedConnection> {
    let connect = redis.get_multiplexed_async_connection();
    let mut connection = timeout(Duration::from_millis(300), connect).await.ok()?.ok()?;
    let ping = cmd("PING").exec_async(&mut connection).await;
    ping.ok().map(|()| connection)
}
