//! A transaction pooler is killed and started again while orders are placed through it.

use futures::future::join_all;

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders, short_pause},
        dice::size,
        program::Program,
        until,
        world::{Disk, World},
    },
    support::pgbouncer::{PgBouncer, all_documented, create_role, role_settings},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_pooler_loses_no_order_and_is_used_again() {
    let mut world = World::new("PgBouncer is killed", Disk::Volatile).await;
    let shop = world.stock(5, 100_000_000).await;
    create_role(&world.postgres, "pooled", &role_settings()).await;
    let mut pooler = PgBouncer::start(&world.postgres, "pooled", &all_documented()).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "DATABASE_URL");
    env.push(("DATABASE_URL", pooler.url("shop")));
    let server = Program::server(&["--with-worker"], &env).await;
    let (clients, readers) = (Clients::new(), Clients::new());
    let (results, servers) = (clients.results.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let kills = size(2, 20);
    let mut rng = world.rng.clone();
    let killing = async {
        for kill in 1..=kills {
            results.more_acknowledged(100).await;
            short_pause(&mut rng, 50).await;
            let refused = results.answered(503);
            pooler.kill();
            // Every second outage lasts until orders are refused. During the others, orders only wait.
            if kill % 2 == 0 {
                until("requests are refused", async || results.answered(503) > refused).await;
            }
            pooler.restart().await;
            results.more_acknowledged(1).await;
        }
        readers.results.more_read().await;
        orders.end();
    };
    let reader = async |page: u64| {
        while orders.has_more() {
            let url = format!("http://{}/api/inventory/?page={page}", servers[0]);
            readers.send(readers.http.get(&url)).await;
        }
    };
    let reading = join_all((1..=2).map(reader));
    tokio::join!(clients.place(16, &servers, &orders), killing, reading);
    let (placed, read) = (results.statuses(), readers.results.statuses());
    assert!(
        placed.keys().all(|status| [201, 503].contains(status)),
        "{placed:?}"
    );
    assert!(
        read.keys().all(|status| [200, 404, 503].contains(status)),
        "{read:?}"
    );
    assert_eq!(
        results.cut() + readers.results.cut(),
        0,
        "the server kept running"
    );
    settle(&world, &results, &mut [server], kills, Recovery::Expedited).await;
}
