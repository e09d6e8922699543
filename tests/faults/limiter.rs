//! Clients that forge where they come from, at three servers at once.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::future::join_all;
use rand::{Rng, rngs::StdRng};

use crate::kit::{
    clients::Clients,
    dice::size,
    program::Program,
    table::Row,
    world::{Disk, World},
};

/// What a client may ask for within [`WINDOW`].
const QUOTA: usize = 20;
const WINDOW: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_count_a_client_once_whatever_it_says_where_it_comes_from() {
    let mut world = World::new("forged origins at three servers", Disk::Forgets).await;
    world.stock(3, 1).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "RATE_LIMIT_ENABLED");
    // To these 127.0.0.9 is a proxy that may say whom it asks for; to nobody else.
    env.push(("TRUSTED_PROXIES", "127.0.0.9".to_owned()));
    let mut programs = [
        Program::server(&[], &env).await,
        Program::server(&[], &env).await,
        Program::server(&[], &env).await,
    ];
    let servers = programs.each_ref().map(|program| program.address);
    let each = size(60, 1_000);
    let started = Instant::now();
    let rng = &mut world.rng;

    // Three machines that forge, and two clients behind the proxy that do.
    let machines = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    let mut crowd: Vec<(Clients, Vec<String>)> = Vec::new();
    for machine in machines {
        let forged = (0..each).map(|_| forged(rng)).collect();
        crowd.push((clients_from(machine), forged));
    }
    for client in ["198.51.100.7", "198.51.100.8"] {
        let forged = (0..each).map(|_| format!("{}, {client}", forged(rng))).collect();
        crowd.push((clients_from("127.0.0.9"), forged));
    }
    join_all(
        crowd
            .iter()
            .map(|(clients, origins)| ask_all(clients, &servers, origins)),
    )
    .await;

    let windows = 1 + usize::try_from(started.elapsed().as_secs() / WINDOW.as_secs()).unwrap();
    let (mut refused, mut requests) = (0, 0);
    for (clients, _) in &crowd {
        let statuses = clients.truth.statuses();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &429], "{statuses:?}");
        assert!(
            (QUOTA..=QUOTA * windows).contains(&statuses[&200]),
            "{statuses:?}"
        );
        refused += statuses[&429];
        requests += clients.truth.requests.load(Ordering::Relaxed);
    }
    for program in &mut programs {
        program.stop().await;
        assert!(
            !program.said().contains("rate limiting is suspended"),
            "{}",
            program.said()
        );
    }
    Row {
        hits: refused,
        requests,
        ..Row::default()
    }
    .enter(world.name);
}

/// Asks once for each origin, 16 at a time.
async fn ask_all(clients: &Clients, servers: &[SocketAddr; 3], origins: &[String]) {
    let ask = async |number: usize| {
        for (index, origin) in origins.iter().enumerate().skip(number).step_by(16) {
            let url = format!("http://{}/api/products/autocomplete/?q=lam", servers[index % 3]);
            let request = clients.http.get(url).header("x-forwarded-for", origin);
            clients.send(request).await;
        }
    };
    join_all((0..16).map(ask)).await;
}

/// Clients on another address of this machine.
fn clients_from(address: &str) -> Clients {
    let address: IpAddr = address.parse().unwrap();
    let http = reqwest::Client::builder()
        .local_address(address)
        .no_proxy()
        .build();
    Clients {
        http: http.unwrap(),
        ..Clients::new()
    }
}

/// An origin that is made up: one address, many, or none at all.
fn forged(rng: &mut StdRng) -> String {
    let mut address = || format!("203.0.113.{}", rng.random_range(0..255));
    let addresses = [
        address(),
        address(),
        "unknown".to_owned(),
        "2001:db8::1".to_owned(),
        "127.0.0.9".to_owned(),
    ];
    let count = rng.random_range(1..=addresses.len());
    let first = rng.random_range(0..addresses.len());
    let chosen: Vec<String> = addresses.into_iter().cycle().skip(first).take(count).collect();
    chosen.join(", ")
}
