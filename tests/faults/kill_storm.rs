//! The server is killed repeatedly while many clients order few products.

use std::sync::atomic::Ordering;

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders, short_pause},
    dice::size,
    program::Program,
    world::{Disk, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatedly_killed_server_loses_no_order_and_places_none_twice() {
    let mut world = World::new("kill storm", Disk::Volatile).await;
    let (orders, kills) = (size(1_000, 10_000), size(4, 20));
    // The stock is too small for all orders, even without the interrupted ones, so some are rejected.
    let units = i64::try_from(orders).unwrap() * 17 / 2 * 6 / 10;
    let shop = world.stock(5, units).await;
    let mut server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    let results = clients.results.clone();
    let (all, servers) = (orders, [server.address]);
    let orders = Orders::new(&mut world.rng, &shop, all);
    let rng = &mut world.rng;
    let killing = async {
        for kill in 1..=kills {
            results.reaches(all * kill / (kills + 1)).await;
            short_pause(rng, 20).await;
            let cut = results.cut();
            server.kill().await;
            server.restart().await;
            assert!(results.cut() > cut, "clients were cut off");
        }
    };
    tokio::join!(clients.place(64, &servers, &orders), killing);
    assert!(results.broken.load(Ordering::Relaxed) > 0, "answers were cut off");
    assert_eq!(results.statuses().keys().copied().collect::<Vec<_>>(), [200, 201]);
    settle(&world, &results, &mut [server], kills, Recovery::Expedited).await;
}
