//! PostgreSQL crashes and restarts, or stops answering without closing connections.

use std::{sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use tokio::{task::block_in_place, time::sleep};

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders, a_moment},
    dice::size,
    program::Program,
    truth::Truth,
    until,
    world::{Disk, World, wake},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_crashing_five_times_loses_no_order_and_is_used_again() {
    let mut world = World::new("PostgreSQL restarts", Disk::Keeps).await;
    let shop = world.stock(5, 100_000_000).await;
    let server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    let (truth, servers) = (clients.truth.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let crashes = size(1, 5);
    let mut rng = world.rng.clone();
    let crashing = async {
        for crash in 1..=crashes {
            goes_on(&truth, size(100, 500)).await;
            a_moment(&mut rng, 50).await;
            let refused = truth.answered(503);
            world.crash_postgres_after_a_commit().await;
            // Every other time it stays away for long enough to be missed; otherwise orders just wait for it.
            if crash % 2 == 0 {
                until("requests are refused", async || truth.answered(503) > refused).await;
            }
            block_in_place(|| world.postgres.restart().unwrap());
            goes_on(&truth, 1).await;
        }
        goes_on(&truth, 100).await;
        orders.end();
    };
    tokio::join!(clients.place(32, &servers, &orders), crashing);
    let statuses = truth.statuses();
    assert!(
        statuses.keys().all(|status| [201, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(
        crashes == 1 || statuses.contains_key(&503),
        "one of them was long"
    );
    assert_eq!(truth.cut(), 0, "the server itself stayed");
    settle(&world, &truth, &mut [server], crashes, Recovery::Hurried).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_recovers_from_silent_backends() {
    let mut world = World::new("backends fall silent", Disk::Forgets).await;
    let shop = world.stock(5, 100_000_000).await;
    let server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    // Those who look things up do not count among the orders.
    let readers = Clients::new();
    let (truth, servers) = (clients.truth.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let silent = Duration::from_millis(size(2_000, 10_000));
    let (mut hits, rounds) = (0, size(1, 3));
    let tormenting = async {
        for _ in 0..rounds {
            goes_on(&truth, 200).await;
            let backends = world.silence_backends().await;
            hits += backends.len();
            sleep(silent).await;
            wake(&backends);
            goes_on(&truth, 200).await;
            let read = readers.truth.answered(200);
            until("readers are served", async || {
                readers.truth.answered(200) > read + 20
            })
            .await;
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
    tokio::join!(clients.place(16, &servers, &orders), tormenting, reading);
    let statuses = truth.statuses();
    assert!(
        statuses.keys().all(|status| [201, 503].contains(status)),
        "{statuses:?}"
    );
    let read = readers.truth.statuses();
    assert!(
        read.keys().all(|status| [200, 404, 503].contains(status)),
        "{read:?}"
    );
    assert_eq!(truth.cut() + readers.truth.cut(), 0);
    settle(&world, &truth, &mut [server], hits, Recovery::Hurried).await;
}

/// So many more orders are acknowledged from now on.
async fn goes_on(truth: &Truth, orders: usize) {
    let before = truth.acknowledged.load(Ordering::Relaxed);
    until("orders are placed", async || {
        truth.acknowledged.load(Ordering::Relaxed) >= before + orders
    })
    .await;
}
