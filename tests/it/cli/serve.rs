//! `afforo serve`

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpStream;

use super::{Running, Signal, TestApp, afforo, client, on};
use crate::support::{
    app::{order, send},
    locks::waiting_for_locks,
    program::eventually,
    servers,
};

fn serve(app: &TestApp, args: &[&str]) -> Running {
    let mut line = vec!["serve", "127.0.0.1:0"];
    line.extend(args);
    let mut command = afforo(&line);
    on(&mut command, &app.database_url, app.redis.url());
    Running::start(&mut command)
}

#[tokio::test]
async fn server_stops_on_a_signal_without_warnings() {
    let app = TestApp::start().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = serve(&app, &["--with-worker", "--api-auth", "all"]);
        let url = format!("http://{}/health/", server.address().await);
        assert_eq!(send(client().get(url)).await.status, 200);
        server.signal(signal);
        assert_eq!(server.ends().await.code(), Some(0), "{}", server.output());
        assert!(
            !server.output().contains("ERROR") && !server.output().contains("WARN"),
            "{}",
            server.output()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_request_finishes_before_the_server_stops() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    let stock = app.stock(store, product, 10).await;
    let mut server = serve(&app, &[]);
    let address = server.address().await;
    // The order has to wait for its stock row.
    let mut holder = app.pool.begin().await.unwrap();
    sqlx::query("select from inventory where id = $1 for update")
        .bind(stock)
        .execute(&mut *holder)
        .await
        .unwrap();
    let url = format!("http://{address}/api/orders/");
    let placing = tokio::spawn(send(client().post(url).json(&order(store, &[(product, 3)]))));
    eventually("the order waits", async || waiting_for_locks(&app.pool).await > 0).await;
    server.signal(Signal::TERM);
    server.says("stopping").await;
    eventually("the server accepts no more connections", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    holder.rollback().await.unwrap();
    let placed = placing.await.unwrap();
    assert_eq!(placed.status, 201, "{}", placed.text);
    assert_eq!(server.ends().await.code(), Some(0));
    assert_eq!(app.quantity(stock).await, 7);
}

#[tokio::test]
async fn shutdown_delay_keeps_serving_and_a_second_signal_ends_it() {
    let app = TestApp::start().await;
    let mut server = serve(&app, &["--shutdown-delay", "600"]);
    let address = server.address().await;
    let url = |path: &str| format!("http://{address}{path}");
    assert_eq!(send(client().get(url("/health/ready/"))).await.status, 200);
    server.signal(Signal::TERM);
    server.says("serving for another 600 s").await;
    assert_eq!(send(client().get(url("/health/ready/"))).await.status, 503);
    let address = address.to_string();
    for (args, code) in [
        (&["healthcheck", &address][..], 0),
        (&["healthcheck", &address, "--ready"], 1),
    ] {
        assert_eq!(super::run(&mut afforo(args)).await.code, Some(code), "{args:?}");
    }
    assert_eq!(send(client().get(url("/api/products/"))).await.status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.ends().await.code(), Some(130));
}

#[tokio::test]
async fn server_without_file_descriptors_accepts_again_once_it_has_some() {
    let app = TestApp::start().await;
    let mut server = serve(&app, &[]);
    let address = server.address().await;
    let ask = async || {
        client()
            .get(format!("http://{address}/api/products/"))
            .send()
            .await
    };
    assert_eq!(ask().await.unwrap().status(), 200);
    let pid = server.pid();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let allow = |current| prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum }).unwrap();
    allow(Some(10));
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(TcpStream::connect(address).await.unwrap());
    }
    server.says("cannot accept connections").await;
    allow(maximum);
    eventually("the server responds again", async || {
        ask().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn low_limit_of_open_files_lowers_the_connection_limit() {
    let app = TestApp::start().await;
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "ulimit -n 300 && exec \"$@\"", "sh"]);
    command.args([env!("CARGO_BIN_EXE_afforo"), "serve", "127.0.0.1:0"]);
    command.current_dir("/").env_clear().kill_on_drop(true);
    on(&mut command, &app.database_url, app.redis.url());
    let mut server = Running::start(&mut command);
    let address = server.address().await;
    server
        .says("MAX_CONNECTIONS is 8192, but the process may have 300 files open: it takes 44 connections")
        .await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let url = format!("http://{address}/api/products/");
    let answers = async |status: u16| {
        let answer = client().get(&url).send().await;
        answer.is_ok_and(|answer| answer.status() == status)
    };
    eventually("the server is full", async || answers(503).await).await;
    drop(silent);
    eventually("a connection is free", async || answers(200).await).await;
    assert!(!server.output().contains("ERROR"), "{}", server.output());
}

#[tokio::test]
async fn serve_migrate_migrates_first() {
    let database = servers::empty_database().await;
    let mut command = afforo(&["serve", "127.0.0.1:0", "--migrate"]);
    let mut server = Running::start(command.env("DATABASE_URL", database.url()));
    let url = format!("http://{}/api/products/", server.address().await);
    let answer = send(client().get(url)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["count"]), (200, &0.into()));
    assert!(
        server.output().contains("schema brought up to date"),
        "{}",
        server.output()
    );
}

#[tokio::test]
async fn serve_on_a_taken_port_fails() {
    let app = TestApp::start().await;
    let taken = app.address.to_string();
    let mut command = afforo(&["runserver", &taken]);
    on(&mut command, &app.database_url, app.redis.url());
    let output = super::run(&mut command).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains(&format!("cannot listen on {taken}")),
        "{}",
        output.err
    );
}
