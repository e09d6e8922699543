//! Clients with forged origins, at three servers at once.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use futures::future::join_all;
use rand::{Rng, rngs::StdRng};

use crate::{
    kit::{
        dice::size,
        program::Program,
        table::Row,
        until,
        world::{Disk, World},
    },
    support::app::{Answer, send},
};

/// The number of requests that a client may send within [`WINDOW`].
const QUOTA: usize = 20;
const WINDOW: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_share_one_limit_per_client_despite_forged_origins() {
    let mut world = World::new("forged origins at three servers", Disk::Volatile).await;
    world.stock(3, 1).await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "RATE_LIMIT_ENABLED");
    // The servers trust only 127.0.0.9 as a proxy that names its clients.
    env.push(("TRUSTED_PROXIES", "127.0.0.9".to_owned()));
    let mut programs = [
        Program::server(&[], &env).await,
        Program::server(&[], &env).await,
        Program::server(&[], &env).await,
    ];
    let servers = programs.each_ref().map(|program| program.address);
    let each = size(60, 1_000);
    let started = Instant::now();

    // Three machines and two clients behind the proxy forge their origins.
    let rng = &mut world.rng;
    let mut crowd: Vec<(reqwest::Client, Vec<String>)> = Vec::new();
    for machine in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        let origins = (0..each).map(|_| forged(rng)).collect();
        crowd.push((client_on(machine), origins));
    }
    for client in ["198.51.100.7", "198.51.100.8"] {
        let origins = (0..each).map(|_| format!("{}, {client}", forged(rng))).collect();
        crowd.push((client_on("127.0.0.9"), origins));
    }
    let asking = crowd
        .iter()
        .map(|(client, origins)| ask_all(client, &servers, origins));
    let mut answers = join_all(asking).await;
    // On a busy machine Redis may decide too late and requests pass uncounted. Then the limit takes more requests.
    for ((client, origins), answers) in crowd.iter().zip(&mut answers) {
        until("the client is turned away", async || {
            let turned_away = answers.iter().any(|answer| answer.status == 429);
            if !turned_away {
                answers.extend(ask_all(client, &servers, &origins[..2 * QUOTA]).await);
            }
            turned_away
        })
        .await;
    }

    let windows = 1 + usize::try_from(started.elapsed().as_secs() / WINDOW.as_secs()).unwrap();
    let mut refused = 0;
    for answers in &answers {
        let with = |status: u16, counted: bool| {
            let answers = answers.iter().filter(|answer| answer.status == status);
            answers
                .filter(|answer| answer.headers.contains_key("x-ratelimit-limit") == counted)
                .count()
        };
        let (served, passed, turned_away) = (with(200, true), with(200, false), with(429, true));
        let all = served + passed + turned_away;
        assert_eq!(all, answers.len(), "every response has one of these statuses");
        assert!(served <= QUOTA * windows, "{served} were served");
        // Requests that Redis decided too late were counted, but passed without that decision.
        assert!(served + passed >= QUOTA, "{served} and {passed} were served");
        refused += turned_away;
    }
    for program in &mut programs {
        program.stop().await;
    }
    let requests: usize = answers.iter().map(Vec::len).sum();
    let row = Row {
        hits: refused,
        requests,
        ..Row::default()
    };
    row.enter(world.name);
}

/// Sends one request per origin, a few at a time, to the servers in turn.
async fn ask_all(client: &reqwest::Client, servers: &[SocketAddr; 3], origins: &[String]) -> Vec<Answer> {
    const AT_A_TIME: usize = 6;
    let ask = async |first: usize| {
        let mut answers = Vec::new();
        for (number, origin) in origins.iter().enumerate().skip(first).step_by(AT_A_TIME) {
            let url = format!("http://{}/api/products/autocomplete/?q=lam", servers[number % 3]);
            answers.push(send(client.get(url).header("x-forwarded-for", origin)).await);
        }
        answers
    };
    join_all((0..AT_A_TIME).map(ask))
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// A client on an address of this machine.
fn client_on(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().unwrap();
    let client = afforo::http_client::builder().local_address(address);
    client.build().unwrap()
}

/// A forged origin of one or more addresses.
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
