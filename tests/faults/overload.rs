//! Connections that send almost nothing, and ten times the load that a server admits.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use crate::kit::{
    audit::{Recovery, settle},
    clients::{Clients, Orders},
    dice::{is_full, size},
    program::Program,
    until,
    world::{Disk, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_dribbling_connections_are_closed_without_harm_to_others() {
    let mut world = World::new("2,000 dribbling connections", Disk::Volatile).await;
    let (count, all) = (size(200, 2_000), size(200, 2_000));
    let shop = world.stock(5, 100_000_000).await;
    let server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    let (results, servers) = (clients.results.clone(), [server.address]);
    let (open, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut dribblers = JoinSet::new();
    for _ in 0..count {
        let (open, closed) = (open.clone(), closed.clone());
        let dribbling = dribble(server.address, StdRng::seed_from_u64(world.rng.random()), open);
        dribblers.spawn(async move {
            dribbling.await;
            closed.fetch_add(1, Ordering::Relaxed);
        });
    }
    until("all connections are open", async || {
        open.load(Ordering::Relaxed) == count
    })
    .await;
    let orders = Orders::new(&mut world.rng, &shop, all);
    clients.place(16, &servers, &orders).await;
    // Each request uses its own connection.
    for _ in 0..100 {
        let stranger = Clients {
            results: results.clone(),
            ..Clients::new()
        };
        let url = format!("http://{}/api/products/", server.address);
        stranger.send(stranger.http.get(url)).await.unwrap();
    }
    let expected = [(200, 100), (201, all)];
    assert_eq!(results.statuses().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(results.cut(), 0);
    if is_full() {
        // A slow body may take half a minute, a slow head less.
        until("all that dribble are closed", async || {
            closed.load(Ordering::Relaxed) == count
        })
        .await;
    }
    dribblers.shutdown().await;
    settle(&world, &results, &mut [server], count, Recovery::Expedited).await;
}

/// Sends a head, or a head and a body, byte by byte, until the server closes the connection.
async fn dribble(server: SocketAddr, mut rng: StdRng, open: Arc<AtomicUsize>) {
    let mut connection = TcpStream::connect(server).await.unwrap();
    let head = "POST /api/orders/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n";
    let sends_a_body = rng.random_bool(0.3);
    if sends_a_body {
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(b"\r\n").await.unwrap();
    }
    open.fetch_add(1, Ordering::Relaxed);
    let (mut reader, mut writer) = connection.split();
    let writing = async {
        for byte in head.bytes().chain("X: y\r\n".bytes().cycle()) {
            sleep(Duration::from_millis(rng.random_range(500..1_500))).await;
            if writer
                .write_all(if sends_a_body {
                    b" "
                } else {
                    std::slice::from_ref(&byte)
                })
                .await
                .is_err()
            {
                return;
            }
        }
    };
    let reading = async {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenfold_overload_is_refused_with_503_while_admitted_orders_succeed() {
    let mut world = World::new("10 x overload", Disk::Volatile).await;
    let (limit, all) = (32, size(500, 4_000));
    let shop = world.stock(5, 100_000_000).await;
    let mut env = world.env();
    env.push(("MAX_REQUESTS_IN_FLIGHT", limit.to_string()));
    let server = Program::server(&["--with-worker"], &env).await;
    let clients = Clients::new();
    let (results, servers) = (clients.results.clone(), [server.address]);
    let orders = Orders::endless(&mut world.rng, &shop);
    let ending = async {
        until("enough orders are acknowledged", async || {
            results.acknowledged.load(Ordering::Relaxed) >= all
        })
        .await;
        orders.end();
    };
    // The liveness probe gets a response during the overload.
    let watcher = Clients::new();
    let watching = async {
        while orders.has_more() {
            let url = format!("http://{}/health/", server.address);
            let answer = watcher.send(watcher.http.get(url)).await.unwrap();
            assert_eq!(answer.status, 200);
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(clients.place(10 * limit, &servers, &orders), ending, watching);
    let refused = results.answered(503);
    let statuses: Vec<u16> = results.statuses().into_keys().collect();
    assert_eq!(statuses, [201, 503]);
    assert_eq!(results.cut(), 0);
    // The server accepts all orders again as soon as the overload ends.
    let (before, more) = (results.answered(201), size(100, 1_000));
    orders.go_on(more);
    clients.place(8, &servers, &orders).await;
    assert_eq!(
        (results.answered(201), results.answered(503)),
        (before + more, refused)
    );
    settle(&world, &results, &mut [server], refused, Recovery::Expedited).await;
}
