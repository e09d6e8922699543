//! PostgreSQL crashes and restarts, or stops answering without closing connections.

use std::time::Duration;

use futures::future::join_all;
use tokio::{task::block_in_place, time::sleep};

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders, short_pause},
    dice::size,
    program::Program,
    until,
    world::{Disk, World, wake},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_crashing_five_times_loses_no_order_and_is_used_again() {
    let mut world = World::new("PostgreSQL restarts", Disk::Durable).await;
    let shop = world.stock(5, 100_000_000).await;
    let server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    let (results, servers) = (clients.results.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let crashes = size(1, 5);
    let mut rng = world.rng.clone();
    let crashing = async {
        for crash in 1..=crashes {
            results.more_acknowledged(size(100, 500)).await;
            short_pause(&mut rng, 50).await;
            let refused = results.answered(503);
            world.crash_postgres_after_a_commit().await;
            // Every second outage lasts until orders are refused. During the others, orders only wait.
            if crash % 2 == 0 {
                until("requests are refused", async || results.answered(503) > refused).await;
            }
            block_in_place(|| world.postgres.restart().unwrap());
            results.more_acknowledged(1).await;
        }
        results.more_acknowledged(100).await;
        orders.end();
    };
    tokio::join!(clients.place(32, &servers, &orders), crashing);
    let statuses = results.statuses();
    assert!(
        statuses.keys().all(|status| [201, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(
        crashes == 1 || statuses.contains_key(&503),
        "a long outage refuses orders"
    );
    assert_eq!(results.cut(), 0, "the server kept running");
    settle(&world, &results, &mut [server], crashes, Recovery::Expedited).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_recovers_from_silent_backends() {
    let mut world = World::new("backends fall silent", Disk::Volatile).await;
    let shop = world.stock(5, 100_000_000).await;
    let server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    // Reads are recorded apart from orders.
    let readers = Clients::new();
    let (results, servers) = (clients.results.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let silent = Duration::from_millis(size(2_000, 10_000));
    let (mut hits, rounds) = (0, size(1, 3));
    let injecting = async {
        for _ in 0..rounds {
            results.more_acknowledged(200).await;
            let backends = world.silence_backends().await;
            hits += backends.len();
            sleep(silent).await;
            wake(&backends);
            results.more_acknowledged(200).await;
            readers.results.more_read().await;
        }
        orders.end();
    };
    let reader = async |page: u64| {
        while orders.has_more() {
            let url = format!("http://{}/api/inventory/?page={page}", servers[0]);
            readers.send(readers.http.get(&url)).await;
        }
    };
    let reading = join_all((1..=4).map(reader));
    tokio::join!(clients.place(16, &servers, &orders), injecting, reading);
    let statuses = results.statuses();
    assert!(
        statuses.keys().all(|status| [201, 503].contains(status)),
        "{statuses:?}"
    );
    let read = readers.results.statuses();
    assert!(
        read.keys().all(|status| [200, 404, 503].contains(status)),
        "{read:?}"
    );
    assert_eq!(results.cut() + readers.results.cut(), 0);
    settle(&world, &results, &mut [server], hits, Recovery::Expedited).await;
}
