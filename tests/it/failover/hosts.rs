//! `DATABASE_URL` with several hosts: the program uses the one that takes writes, before and after a failover.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use devstack::Postgres;
use futures::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{
    app::{Answer, client, order, send},
    program::{Running, afforo, eventually, on, run},
    redis::RedisServer,
    standby::{Pair, promote},
};

/// The URL of a database on several servers.
pub fn url_of(servers: &[&Postgres]) -> String {
    let host = |server: &&Postgres| {
        let url = server.url("");
        url.split_once('@').unwrap().1.trim_end_matches('/').to_owned()
    };
    let hosts: Vec<String> = servers.iter().map(host).collect();
    format!(
        "postgres://postgres@{}/shop?target_session_attrs=read-write",
        hosts.join(",")
    )
}

/// Runs a command that must succeed, and returns its output.
pub async fn command(line: &str, url: &str) -> String {
    let args: Vec<&str> = line.split(' ').collect();
    let output = run(afforo(&args).env("DATABASE_URL", url)).await;
    assert_eq!(output.code, Some(0), "{line}: {}{}", output.out, output.err);
    output.out
}

fn program(args: &[&str], url: &str, redis: &RedisServer) -> Running {
    let mut command = afforo(args);
    on(&mut command, url, &redis.url(0));
    Running::start(command.env("METRICS_ADDR", "127.0.0.1:0"))
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    send(client().get(format!("http://{address}{path}"))).await
}

/// The roles in the readiness, and which host is in use.
pub async fn hosts(address: SocketAddr) -> Value {
    get(address, "/health/ready/").await.body["database_hosts"].clone()
}

fn host(role: &str, in_use: bool) -> Value {
    json!({ "role": role, "in_use": in_use })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn program_follows_a_failover_between_two_hosts() {
    let pair = Pair::start().await;
    let redis = RedisServer::start();
    let (old, new) = (&pair.primary, &pair.standby);
    let mut admin = PgConnection::connect(&old.url("postgres")).await.unwrap();
    admin.execute("create database shop").await.unwrap();
    admin.close().await.unwrap();

    // The standby is the first host of the URL.
    let url = url_of(&[new, old]);
    command("migrate", &url).await;
    command("migrate --check --wait-for 5", &url).await;
    command("seed --products 2 --stores 1 --orders 0", &url).await;
    command("apikey list", &url).await;
    let mut server = program(&["serve", "127.0.0.1:0", "--with-worker"], &url, &redis);
    let address = server.address().await;
    assert_eq!(
        hosts(address).await,
        json!([host("standby", false), host("primary", true)])
    );

    // The primary falls silent under load, and the standby is promoted.
    let listed = get(address, "/api/inventory/").await.body["results"][0]["id"].clone();
    let stock = get(address, &format!("/api/inventory/{listed}/")).await.body;
    let id = |field: &str| stock[field]["id"].as_i64().unwrap();
    let body = order(id("store"), &[(id("product"), 1)]);
    let (placed, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let placing = join_all((0..8).map(async |_| {
        while !ended.load(Ordering::Relaxed) {
            let request = client().post(format!("http://{address}/api/orders/"));
            let answer = send(request.json(&body)).await;
            let status = answer.status.as_u16();
            assert!([200, 201, 503].contains(&status), "{}", answer.text);
            placed.fetch_add(usize::from(status < 300), Ordering::Relaxed);
        }
    }));
    let reading = async {
        while !ended.load(Ordering::Relaxed) {
            let answer = get(address, "/api/products/").await;
            assert!([200, 503].contains(&answer.status.as_u16()), "{}", answer.text);
        }
    };
    let more = async |orders: usize| {
        let before = placed.load(Ordering::Relaxed);
        eventually("orders are placed", async || {
            placed.load(Ordering::Relaxed) >= before + orders
        })
        .await;
    };
    let failing_over = async {
        more(50).await;
        old.pause();
        promote(new).await;
        more(50).await;
        ended.store(true, Ordering::Relaxed);
    };
    tokio::join!(placing, reading, failing_over);
    eventually("the readiness has the new roles", async || {
        hosts(address).await == json!([host("primary", true), host("unreachable", false)])
    })
    .await;
    let mut shop = PgConnection::connect(&new.url("shop")).await.unwrap();
    let stored: i64 = sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&mut shop)
        .await
        .unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), placed.load(Ordering::Relaxed));
    eventually("all orders are confirmed", async || {
        let due = "select count(*) from outbox";
        let due: i64 = sqlx::query_scalar(due).fetch_one(&mut shop).await.unwrap();
        due == 0
    })
    .await;
    assert_eq!(metric(&mut server, "afforo_database_failovers_total").await, "1");

    // The first host is silent, then dead.
    let url = url_of(&[old, new]);
    command("check", &url).await;
    let mut other = program(&["serve", "127.0.0.1:0"], &url, &redis);
    let answer = get(other.address().await, "/api/orders/").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    old.kill();
    command("check", &url).await;
    let output = run(afforo(&["check"]).env("DATABASE_URL", url_of(&[old, old]))).await;
    assert!(
        output.err.contains("no database host takes writes"),
        "{}",
        output.err
    );
    server.signal(Signal::TERM);
    assert_eq!(server.ends().await.code(), Some(0), "{}", server.output());
    assert!(!server.output().contains("panicked"), "{}", server.output());
}

/// The value of a metric without labels.
async fn metric(server: &mut Running, name: &str) -> String {
    let line = server.says("metrics are at ").await;
    let url = line.split_once("metrics are at ").unwrap().1.trim();
    let metrics = send(client().get(url)).await.text;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("{metrics}")).trim().to_owned()
}
