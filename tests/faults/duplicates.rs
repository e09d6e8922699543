//! Orders repeated under one key, because responses get lost: connections are reset and servers killed.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    kit::{
        audit::{Recovery, settle},
        clients::{Clients, Orders, RETRY_DELAY, short_pause},
        dice::size,
        program::Program,
        proxy::Proxy,
        results::{Order, Outcome},
        until,
        world::{Disk, World},
    },
    support::app::{self, Answer},
};

/// The least number of times that each order is sent.
const SENDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_repeated_under_one_key_is_placed_once_with_identical_response() {
    let mut world = World::new("duplicate storm", Disk::Volatile).await;
    let (keys, kills) = (size(200, 2_000), size(2, 10));
    let units = i64::try_from(keys).unwrap() * 17 / 2 * 8 / 10;
    let shop = world.stock(5, units).await;
    let mut programs = [
        Program::server(&["--with-worker"], &world.env()).await,
        Program::server(&[], &world.env()).await,
    ];
    let mut proxies = Vec::new();
    for program in &programs {
        proxies.push(Proxy::start(program.address, &mut world.rng).await);
    }
    let clients = Clients::new();
    let results = clients.results.clone();
    let orders = Orders::new(&mut world.rng, &shop, keys);
    let answered = AtomicUsize::new(0);

    // The requests of a key are concurrent or in sequence, and go to one server or both.
    let client = async |_: usize| {
        let mut first_answers = Vec::new();
        while let Some(order) = orders.take() {
            let key = format!("order-{:?}", order.items).replace(' ', "");
            let number = answered.load(Ordering::Relaxed);
            let send = |send: usize| {
                let proxy = &proxies[(send * (number / 2 % 2) + number) % 2];
                send_until_answered(&clients, proxy, &key, &order)
            };
            let answers = if number.is_multiple_of(3) {
                let mut answers = Vec::new();
                for number in 0..SENDS {
                    answers.push(send(number).await);
                }
                answers
            } else {
                join_all((0..SENDS).map(send)).await
            };
            for answer in &answers[1..] {
                assert_eq!(
                    (answer.status, &answer.text),
                    (answers[0].status, &answers[0].text),
                    "{key}"
                );
            }
            results.note(order.clone(), Outcome::from(&answers[0]));
            answered.fetch_add(1, Ordering::Relaxed);
            first_answers.push((key, order, answers.into_iter().next().unwrap()));
        }
        first_answers
    };
    let (rng, victims) = (&mut world.rng, &mut programs);
    let killing = async {
        for kill in 1..=kills {
            until("keys are answered", async || {
                answered.load(Ordering::Relaxed) >= keys * kill / (kills + 1)
            })
            .await;
            short_pause(rng, 20).await;
            let broken = results.broken.load(Ordering::Relaxed);
            victims[kill % 2].kill().await;
            until("clients are cut off", async || {
                results.broken.load(Ordering::Relaxed) > broken
            })
            .await;
            victims[kill % 2].restart().await;
        }
    };
    let (first_answers, ()) = tokio::join!(join_all((0..32).map(client)), killing);
    let resets: Vec<[usize; 4]> = proxies.iter().map(Proxy::resets).collect();
    assert!(resets.iter().flatten().all(|count| *count > 0), "{resets:?}");

    // Stored responses survive a restart of the servers.
    for program in &mut programs {
        program.kill().await;
        program.restart().await;
    }
    for (number, (key, order, first)) in first_answers.iter().flatten().enumerate() {
        let url = format!("http://{}/api/orders/", programs[number % 2].address);
        let again = clients
            .send(order_under(&clients, &url, key, order))
            .await
            .unwrap();
        assert_eq!((again.status, &again.text), (first.status, &first.text), "{key}");
        assert_eq!(again.header("idempotent-replayed"), "true", "{key}");
    }
    assert_eq!(first_answers.iter().flatten().count(), keys);
    let statuses = results.statuses();
    let expected = [200, 201, 409, 503];
    assert!(
        statuses.keys().all(|status| expected.contains(status)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains_key(&200) && statuses.contains_key(&201),
        "{statuses:?}"
    );
    let hits = resets.iter().flatten().sum::<usize>() + kills;
    settle(&world, &results, &mut programs, hits, Recovery::Expedited).await;
}

/// Sends an order until it gets a final response.
async fn send_until_answered(clients: &Clients, proxy: &Proxy, key: &str, order: &Order) -> Answer {
    let url = format!("http://{}/api/orders/", proxy.address);
    loop {
        match clients.send(order_under(clients, &url, key, order)).await {
            Some(answer) if ![409, 503].contains(&answer.status.as_u16()) => return answer,
            Some(answer) => assert_eq!(answer.header("retry-after"), "1", "{answer:?}"),
            None => {}
        }
        sleep(RETRY_DELAY).await;
    }
}

fn order_under(clients: &Clients, url: &str, key: &str, order: &Order) -> reqwest::RequestBuilder {
    let request = clients.http.post(url).header("idempotency-key", key);
    request.json(&app::order(order.store, &order.items))
}
