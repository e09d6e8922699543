//! A replica that serves reads is late, silent and killed under load: each client sees its own writes, and no data is older than
//! the maximum lag.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use devstack::Postgres;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders},
        dice::size,
        program::Program,
        until,
        world::{Disk, World},
    },
    support::{
        app::{Answer, client, send},
        standby::{caught_up, pause_replay, resume_replay},
    },
};

/// The numbers that a client wrote, and when each was acknowledged.
type Written = Mutex<Vec<Instant>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_their_own_writes_while_a_replica_fails() {
    let mut world = World::new("replica is late, silent, killed", Disk::Replicated).await;
    let shop = world.stock(5, 100_000_000).await;
    let replica = block_in_place(|| world.postgres.standby()).unwrap();
    caught_up(&world.postgres, &replica).await;
    let max_lag = size(1, 5);
    let mut env = world.env();
    env.push(("DATABASE_REPLICA_URL", replica.url("shop")));
    env.push(("REPLICA_MAX_LAG", max_lag.to_string()));
    env.push(("TRUSTED_PROXIES", "127.0.0.1".to_owned()));
    let mut programs = [
        Program::server(&["--with-worker"], &env).await,
        Program::server(&[], &env).await,
    ];
    let servers = [programs[0].address, programs[1].address];
    let (clients, others) = (Clients::new(), Clients::new());
    let orders = Orders::endless(&mut world.rng, &shop);
    let max_lag = Duration::from_secs(max_lag.try_into().unwrap());
    let callers: Vec<Caller> = join_all((1..=4).map(|number| Caller::new(number, servers))).await;
    let reads = AtomicUsize::new(0);
    let calling = join_all(callers.iter().map(|caller| caller.run(&others, &orders, &reads)));
    let looking = join_all(
        callers
            .iter()
            .map(|caller| caller.watch(&others, &orders, max_lag)),
    );
    let rounds = size(1, 3);
    let failing = async {
        for _ in 0..rounds {
            disturb(
                &world,
                &replica,
                servers,
                Duration::from_secs(size(3, 30).try_into().unwrap()),
            )
            .await;
            let before = reads.load(Ordering::Relaxed);
            until("clients go on", async || {
                reads.load(Ordering::Relaxed) > before + 20
            })
            .await;
        }
        orders.end();
    };
    tokio::join!(clients.place(4, &servers, &orders), calling, looking, failing);
    let (placed, other) = (clients.results.statuses(), others.results.statuses());
    assert!(placed.keys().all(|status| *status == 201), "{placed:?}");
    assert!(other.keys().all(|status| *status == 200), "{other:?}");
    println!("orders: {placed:?}; other requests: {other:?}");
    settle(
        &world,
        &clients.results,
        &mut programs,
        3 * rounds,
        Recovery::Expedited,
    )
    .await;
}

/// Pauses the replay for a while, stops the replica, and kills it. Both servers pass it over each time, and use it again.
async fn disturb(world: &World, replica: &Postgres, servers: [SocketAddr; 2], pause: Duration) {
    become_used(servers, true).await;
    pause_replay(replica).await;
    sleep(pause).await;
    become_used(servers, false).await;
    resume_replay(replica).await;
    caught_up(&world.postgres, replica).await;
    become_used(servers, true).await;
    replica.pause();
    become_used(servers, false).await;
    replica.resume();
    become_used(servers, true).await;
    block_in_place(|| replica.kill());
    become_used(servers, false).await;
    block_in_place(|| replica.restart()).unwrap();
    become_used(servers, true).await;
}

async fn become_used(servers: [SocketAddr; 2], in_use: bool) {
    let what = if in_use {
        "the replica is used"
    } else {
        "the replica is passed over"
    };
    until(what, async || {
        let ready = servers.map(|server| send(client().get(format!("http://{server}/health/ready/"))));
        let ready = join_all(ready).await;
        ready
            .iter()
            .all(|ready| ready.body["database_hosts"][1]["in_use"] == in_use)
    })
    .await;
}

/// A client with an address of its own that changes one category, which no other client changes.
struct Caller {
    number: usize,
    servers: [SocketAddr; 2],
    category: i64,
    written: Written,
}

impl Caller {
    async fn new(number: usize, servers: [SocketAddr; 2]) -> Self {
        let url = format!("http://{}/api/categories/", servers[0]);
        let body = json!({ "name": format!("{number}: 0") });
        let created = send(client().post(url).json(&body)).await;
        Self {
            number,
            servers,
            category: created.created(),
            written: Mutex::new(vec![Instant::now()]),
        }
    }

    /// Sends a request about the category from an address.
    async fn ask(
        &self,
        clients: &Clients,
        server: usize,
        address: String,
        method: Method,
        change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let url = format!(
            "http://{}/api/categories/{}/",
            self.servers[server], self.category
        );
        let request = clients
            .http
            .request(method, url)
            .header("x-forwarded-for", address);
        clients
            .send(change(request))
            .await
            .expect("the server keeps running")
    }

    /// Changes the category through one server, and reads it through both.
    async fn run(&self, clients: &Clients, orders: &Orders, reads: &AtomicUsize) {
        let address = || format!("10.0.0.{}", self.number);
        while orders.has_more() {
            let count = self.written.lock().unwrap().len();
            let body = json!({ "name": format!("{}: {count}", self.number) });
            let changed = self
                .ask(clients, 0, address(), Method::PATCH, |request| {
                    request.json(&body)
                })
                .await;
            self.written.lock().unwrap().push(Instant::now());
            let position = changed.header("afforo-position");
            let here = self.ask(clients, 0, address(), Method::GET, |request| request);
            let elsewhere = self.ask(clients, 1, address(), Method::GET, |request| {
                request.header("afforo-position", position)
            });
            for read in [here.await, elsewhere.await] {
                assert_eq!(number_in(&read), count, "the client's own write: {}", read.text);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Reads the category as another client, which may see it as it was, but not longer ago than the maximum lag.
    async fn watch(&self, clients: &Clients, orders: &Orders, max_lag: Duration) {
        while orders.has_more() {
            let asked = Instant::now();
            let address = format!("10.0.1.{}", self.number);
            let read = self
                .ask(clients, 1, address, Method::GET, |request| request)
                .await;
            let written = self.written.lock().unwrap();
            let known = written.partition_point(|when| *when + max_lag < asked);
            assert!(
                number_in(&read) + 1 >= known,
                "{} after {known} writes",
                read.text
            );
        }
    }
}

/// The number in the name of a category.
fn number_in(read: &Answer) -> usize {
    let name = read.body["name"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", read.text));
    name.split_once(": ").unwrap().1.parse().unwrap()
}
