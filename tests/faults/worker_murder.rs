//! Workers are killed while they confirm orders.

use rand::Rng;

use crate::kit::{
    audit::{Recovery, owed, settle},
    clients::{Clients, Orders, a_moment},
    dice::size,
    program::Program,
    world::{Disk, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_at_work_lose_no_confirmation_and_send_none_twice() {
    let mut world = World::new("worker murder", Disk::Forgets).await;
    let (all, kills) = (size(600, 6_000), size(6, 30));
    let shop = world.stock(5, 1_000_000).await;
    let mut programs = vec![Program::server(&[], &world.env()).await];
    for _ in 0..3 {
        programs.push(Program::worker(&world.env()).await);
    }
    let clients = Clients::new();
    let (truth, servers) = (clients.truth.clone(), [programs[0].address]);
    let orders = Orders::new(&mut world.rng, &shop, all);
    let mut hits = 0;
    let (rng, pool, workers) = (&mut world.rng, world.pool.clone(), &mut programs[1..]);
    let killing = async {
        for kill in 1..=kills {
            truth.reaches(all * kill / (kills + 1)).await;
            a_moment(rng, 20).await;
            let victim = &mut workers[rng.random_range(0..3)];
            victim.kill().await;
            // What is owed is at work somewhere, or about to be.
            hits += usize::from(owed(&pool).await > 0);
            victim.rise().await;
        }
    };
    tokio::join!(clients.place(16, &servers, &orders), killing);
    assert_eq!(truth.answered(201), all, "{:?}", truth.statuses());
    let recovery = size(Recovery::Hurried, Recovery::Unaided);
    settle(&world, &truth, &mut programs, hits, recovery).await;
}
