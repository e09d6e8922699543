//! The server is killed repeatedly while many clients order few products.

use std::sync::atomic::Ordering;

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders, a_moment},
    dice::size,
    program::Program,
    world::{Disk, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatedly_killed_server_loses_no_order_and_places_none_twice() {
    let mut world = World::new("kill storm", Disk::Forgets).await;
    let (orders, kills) = (size(1_000, 10_000), size(4, 20));
    // Too little for all, even without those that are cut off: some are rejected.
    let pieces = i64::try_from(orders).unwrap() * 17 / 2 * 6 / 10;
    let shop = world.stock(5, pieces).await;
    let mut server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    let truth = clients.truth.clone();
    let (all, servers) = (orders, [server.address]);
    let orders = Orders::new(&mut world.rng, &shop, all);
    let rng = &mut world.rng;
    let killing = async {
        for kill in 1..=kills {
            truth.reaches(all * kill / (kills + 1)).await;
            a_moment(rng, 20).await;
            let cut = truth.cut();
            server.kill().await;
            server.rise().await;
            assert!(truth.cut() > cut, "clients were cut off");
        }
    };
    tokio::join!(clients.place(64, &servers, &orders), killing);
    assert!(truth.broken.load(Ordering::Relaxed) > 0, "answers were cut off");
    assert_eq!(truth.statuses().keys().copied().collect::<Vec<_>>(), [200, 201]);
    settle(&world, &truth, &mut [server], kills, Recovery::Hurried).await;
}
