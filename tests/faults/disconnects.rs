//! Clients that disconnect before the response.

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
    time::timeout,
};

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders},
        dice::size,
        program::Program,
        results::{Order, Outcome, Results},
        world::{Disk, World},
    },
    support::app::raw_order,
};

/// The longest time that a client waits, in milliseconds.
const LONGEST: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnecting_clients_leave_no_open_transaction_or_partial_order() {
    let mut world = World::new("clients leave after 0-50 ms", Disk::Volatile).await;
    let count = size(500, 5_000);
    let shop = world.stock(5, 100_000_000).await;
    let server = Program::server(&["--with-worker"], &world.env()).await;
    let clients = Clients::new();
    let results = clients.results.clone();
    let orders = Orders::endless(&mut world.rng, &shop);
    let left = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for first in 0..64 {
        let (orders, results, left) = (orders.clone(), results.clone(), left.clone());
        let (address, seed) = (server.address, world.rng.random());
        tasks.spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            for _ in (first..count).step_by(64) {
                let order = orders.take().unwrap();
                let outcome = send_and_disconnect(address, &order, &mut rng, &results).await;
                left.fetch_add(usize::from(outcome == Outcome::Unknown), Ordering::Relaxed);
                results.note(order, outcome);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    // Clients that wait get normal service.
    for _ in 0..100 {
        let order = orders.take().unwrap();
        assert!(matches!(
            clients.place_one(server.address, order).await,
            Outcome::Confirmed(_)
        ));
    }
    let left = left.load(Ordering::Relaxed);
    settle(&world, &results, &mut [server], left, Recovery::Expedited).await;
}

/// Sends an order or the beginning of one, waits briefly, and closes the connection, with or without a reset. A response
/// that arrives before that counts.
async fn send_and_disconnect(
    address: SocketAddr,
    order: &Order,
    rng: &mut StdRng,
    results: &Results,
) -> Outcome {
    let request = raw_order(address, order.store, &order.items);
    let sent = if rng.random_bool(0.1) {
        rng.random_range(0..request.len())
    } else {
        request.len()
    };
    let wait = Duration::from_millis(rng.random_range(0..=LONGEST));
    let mut connection = TcpStream::connect(address).await.unwrap();
    if rng.random_bool(0.5) {
        connection.set_zero_linger().unwrap();
    }
    connection.write_all(&request.as_bytes()[..sent]).await.unwrap();
    results.requests.fetch_add(1, Ordering::Relaxed);
    let mut answer = Vec::new();
    let reading = async {
        while complete_answer(&answer).is_none() {
            if connection.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    let _ = timeout(wait, reading).await;
    let Some((status, body)) = complete_answer(&answer) else {
        return Outcome::Unknown;
    };
    results.note_status(status);
    match (status, body["id"].as_i64()) {
        (201, Some(id)) => Outcome::Confirmed(id),
        other => panic!("{other:?}: {body}"),
    }
}

/// The status and body of a response, once it is complete.
fn complete_answer(answer: &[u8]) -> Option<(u16, serde_json::Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}
