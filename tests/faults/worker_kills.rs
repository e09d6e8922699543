//! Workers are killed while they confirm orders.

use rand::Rng;

use crate::kit::{
    audit::{Recovery, owed, settle},
    clients::{Clients, Orders, short_pause},
    dice::size,
    program::Program,
    receiver::Receiver,
    world::{Disk, World},
};

/// The number of messages that a worker sends concurrently.
const UNDER_WAY: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_no_confirmation_and_send_none_twice() {
    let mut world = World::new("worker kills", Disk::Volatile).await;
    let (all, kills) = (size(600, 6_000), size(6, 30));
    let shop = world.stock(5, 1_000_000).await;
    let receiver = Receiver::start().await;
    let mut env = world.env();
    env.extend(receiver.env());
    let mut programs = vec![Program::server(&[], &env).await];
    for _ in 0..3 {
        programs.push(Program::worker(&env).await);
    }
    let clients = Clients::new();
    let (results, servers) = (clients.results.clone(), [programs[0].address]);
    let orders = Orders::new(&mut world.rng, &shop, all);
    let mut hits = 0;
    let (rng, pool, workers) = (&mut world.rng, world.pool.clone(), &mut programs[1..]);
    let killing = async {
        for kill in 1..=kills {
            results.reaches(all * kill / (kills + 1)).await;
            short_pause(rng, 20).await;
            let victim = &mut workers[rng.random_range(0..3)];
            victim.kill().await;
            // Due confirmations are in progress or about to be.
            hits += usize::from(owed(&pool).await > 0);
            victim.restart().await;
        }
    };
    tokio::join!(clients.place(16, &servers, &orders), killing);
    assert_eq!(results.answered(201), all, "{:?}", results.statuses());
    let recovery = size(Recovery::Expedited, Recovery::ByLease);
    settle(&world, &results, &mut programs, hits, recovery).await;

    // Each order has one webhook message. Only messages in progress during a kill arrive again.
    let messages = receiver.messages();
    assert_eq!(messages.len(), all);
    assert!(
        messages.values().all(|messages| messages.len() == 1),
        "{messages:?}"
    );
    let times: usize = messages.values().flat_map(|messages| messages.values()).sum();
    assert!(
        times - all <= kills * UNDER_WAY,
        "{times} messages about {all} orders"
    );
}
