//! Random requests: no request makes the server fail, and every refusal gives a reason.
//!
//! `FUZZ_CASES` is the number of requests per test, `FUZZ_SEED` the seed of their content. The seed is printed.

mod requests;

use std::fmt::Debug;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use self::requests::{Write, query, raw_request, write};
use crate::support::app::{Answer, TestApp, send};

/// Checks a number of values and shows the simplest one that fails.
async fn check<S: Strategy>(strategy: S, holds: impl AsyncFn(&S::Value) -> Result<(), String>)
where
    S::Value: Debug,
{
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
    let cases = number("FUZZ_CASES").unwrap_or(300);
    println!("FUZZ_SEED={seed} FUZZ_CASES={cases}");
    let bytes: [u8; 32] = StdRng::seed_from_u64(seed).random();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..cases {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        let Err(mut why) = holds(&tree.current()).await else {
            continue;
        };
        let mut simplest = tree.current();
        let mut more = tree.simplify();
        while more {
            let simpler = tree.current();
            more = if let Err(again) = holds(&simpler).await {
                (simplest, why) = (simpler, again);
                tree.simplify()
            } else {
                tree.complicate()
            };
        }
        panic!("{why}\nfor {simplest:?}");
    }
}

/// Asserts that a refusal is JSON with a message or errors by field.
fn is_sound(answer: &Answer) -> Result<(), String> {
    let status = answer.status.as_u16();
    let says_why = match &answer.body {
        Value::Object(members) => !members.is_empty() && members.values().all(|value| !value.is_null()),
        _ => false,
    };
    let is_sound = match status {
        200..=399 => true,
        400..=499 => says_why && answer.header("content-type") == "application/json",
        _ => false,
    };
    is_sound
        .then_some(())
        .ok_or_else(|| format!("{status}: {:?}", answer.text))
}

/// A server with two records of every kind, with the ids 1 and 2.
async fn furnished() -> TestApp {
    let app = TestApp::start().await;
    let lamps = app.category("Lamps").await;
    for number in 1..=2 {
        let (store, lamp) = (
            app.store(&format!("Store {number}")).await,
            app.product_in(lamps, &format!("Lamp {number}"), "1.50").await,
        );
        app.stock(store, lamp, 1000).await;
    }
    app.category("Rugs").await;
    app
}

#[tokio::test]
async fn random_bodies_never_cause_500_or_break_the_check_rules() {
    let app = furnished().await;
    check(write(), async |write: &Write| {
        let request = app.request(write.method.clone(), &write.path);
        let request = request
            .header("content-type", &write.content_type)
            .body(write.body.clone());
        let request = match &write.key {
            Some(key) => request.header("idempotency-key", key.as_slice()),
            None => request,
        };
        is_sound(&send(request).await)
    })
    .await;
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn random_query_strings_never_cause_500() {
    let app = furnished().await;
    check(query(), async |(path, query): &(String, String)| {
        is_sound(&send(app.request(Method::GET, &format!("{path}?{query}"))).await)
    })
    .await;
}

#[tokio::test]
async fn random_bytes_on_a_connection_never_stop_the_server() {
    let app = furnished().await;
    check(raw_request(), async |bytes: &Vec<u8>| {
        let mut connection = TcpStream::connect(app.address).await.unwrap();
        // The server may refuse a request before its end is sent.
        let _ = connection.write_all(bytes).await;
        let _ = connection.shutdown().await;
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        if answer.starts_with("HTTP/1.1 5") || answer.starts_with("HTTP/1.0 5") {
            return Err(answer.into_owned());
        }
        is_sound(&app.get("/health/").await)
    })
    .await;
}
