//! Replicas that serve reads: each client sees its own writes, and a replica that is behind or away is passed over.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use devstack::Postgres;
use futures::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use super::hosts::{command, get, hosts, url_of};
use crate::{
    console::Desk,
    support::{
        app::{Answer, TestApp, client, send},
        pgbouncer::{PgBouncer, all_documented, create_role, role_settings},
        program::{Running, afforo, eventually, on},
        redis::RedisServer,
        standby::{Pair, caught_up, pause_replay, resume_replay},
    },
};

const POSITION: &str = "afforo-position";

/// A primary with a replica, and their Redis.
struct Shop {
    pair: Pair,
    redis: RedisServer,
}

impl Shop {
    async fn start() -> Self {
        let pair = Pair::start().await;
        let mut admin = PgConnection::connect(&pair.primary.url("postgres"))
            .await
            .unwrap();
        admin.execute("create database shop").await.unwrap();
        admin.close().await.unwrap();
        command("migrate", &pair.primary.url("shop")).await;
        let redis = RedisServer::start();
        Self { pair, redis }
    }

    fn replica(&self) -> &Postgres {
        &self.pair.standby
    }

    /// Starts a server that reads from the replica, and waits until it does.
    async fn serve(&self, max_lag: u32) -> (Running, SocketAddr) {
        let replica = url_of(&[self.replica()]).replace("read-write", "prefer-standby");
        self.serve_with(&replica, max_lag).await
    }

    /// The same with another URL of the replica.
    async fn serve_with(&self, replica: &str, max_lag: u32) -> (Running, SocketAddr) {
        let mut program = afforo(&["serve", "127.0.0.1:0"]);
        on(&mut program, &self.pair.primary.url("shop"), &self.redis.url(0));
        program
            .env("DATABASE_REPLICA_URL", replica)
            .env("REPLICA_MAX_LAG", max_lag.to_string())
            .env("TRUSTED_PROXIES", "127.0.0.1");
        let mut server = Running::start(&mut program);
        let address = server.address().await;
        eventually("the replica is in use", async || is_in_use(address).await).await;
        (server, address)
    }
}

async fn is_in_use(address: SocketAddr) -> bool {
    hosts(address).await[1]["in_use"] == true
}

/// A client of a server, by its address.
#[derive(Clone, Copy)]
struct Caller(SocketAddr, &'static str);

impl Caller {
    fn request(self, method: Method) -> RequestBuilder {
        client()
            .request(method, format!("http://{}/api/categories/", self.0))
            .header("x-forwarded-for", self.1)
    }

    /// Creates a category, and returns the position of the write.
    async fn create(self, name: &str) -> String {
        let answer = send(self.request(Method::POST).json(&json!({ "name": name }))).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.header(POSITION).to_owned()
    }

    async fn names(self) -> Vec<Value> {
        names(&send(self.request(Method::GET)).await)
    }

    async fn names_at(self, position: &str) -> Vec<Value> {
        names(&send(self.request(Method::GET).header(POSITION, position)).await)
    }
}

fn names(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let rows = answer.body["results"].as_array().unwrap();
    rows.iter().map(|row| row["name"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_their_own_writes_although_replicas_lag() {
    let shop = Shop::start().await;
    let (patient, strict) = tokio::join!(shop.serve(600), shop.serve(1));
    let [anna, ben, eve] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|of| Caller(patient.1, of));
    anna.create("First").await;
    caught_up(&shop.pair.primary, shop.replica()).await;
    eventually("the replica has the write", async || {
        anna.names().await == ["First"]
    })
    .await;
    pause_replay(shop.replica()).await;

    // Others do not see the write: they read from the replica.
    let position = ben.create("Second").await;
    assert_eq!(ben.names().await, ["First", "Second"]);
    assert_eq!(eve.names().await, ["First"]);
    // The position of the write stands for its client, anywhere. A position that cannot be read might be any.
    let elsewhere = Caller(strict.1, "10.0.0.4");
    for caller in [eve, elsewhere] {
        assert_eq!(caller.names_at(&position).await, ["First", "Second"]);
    }
    assert_eq!(eve.names_at("soon").await, ["First", "Second"]);
    assert_eq!(eve.names_at("0").await, ["First"]);
    // The maximum lag of the other server has passed, after which no client reads from the replica.
    eventually("the replica is passed over", async || {
        elsewhere.names().await == ["First", "Second"]
    })
    .await;
    assert!(!is_in_use(strict.1).await);

    // The replica serves the client again when it has the write. It lacks the next one.
    resume_replay(shop.replica()).await;
    caught_up(&shop.pair.primary, shop.replica()).await;
    pause_replay(shop.replica()).await;
    anna.create("Third").await;
    eventually("the replica serves the client again", async || {
        ben.names().await == ["First", "Second"]
    })
    .await;
    assert_eq!(anna.names().await, ["First", "Second", "Third"]);
    resume_replay(shop.replica()).await;
    eventually("the replica is in use again", async || is_in_use(strict.1).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_sees_own_writes_on_all_servers() {
    let shop = Shop::start().await;
    let (url, replica) = (shop.pair.primary.url("shop"), shop.replica().url("shop"));
    let start = async || TestApp::start_with_replica(&url, &replica, &shop.redis.url(0)).await;
    let (one, other) = (start().await, start().await);
    let desk = Desk::of(&one, "staff", None).await;
    caught_up(&shop.pair.primary, shop.replica()).await;
    for server in [&one, &other] {
        eventually("the replica is in use", async || {
            server.pools.host_statuses()[1].in_use
        })
        .await;
    }
    pause_replay(shop.replica()).await;

    let done = desk.post("/admin/categories/new/", &[("name", "Lamps")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let cookies = done.headers.get_all("set-cookie").iter();
    let position = cookies
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .find(|cookie| cookie.starts_with("afforo-position="))
        .unwrap();
    assert_eq!(done.header(POSITION), "");
    let list = "/admin/categories/";
    assert!(desk.html(list).await.contains("Lamps"));
    assert!(!desk.on(&other, None).html(list).await.contains("Lamps"));
    assert!(desk.on(&other, Some(position)).html(list).await.contains("Lamps"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_a_silent_and_a_killed_replica() {
    let shop = Shop::start().await;
    let (server, address) = shop.serve(5).await;
    let ended = AtomicBool::new(false);
    let reading = join_all((0..4).map(async |_| {
        while !ended.load(Ordering::Relaxed) {
            let answer = get(address, "/api/products/").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }));
    let failing = async {
        let becomes = async |in_use: bool| {
            let what = if in_use {
                "the replica is in use"
            } else {
                "the replica is away"
            };
            eventually(what, async || is_in_use(address).await == in_use).await;
        };
        shop.replica().pause();
        becomes(false).await;
        shop.replica().resume();
        becomes(true).await;
        shop.replica().kill();
        becomes(false).await;
        shop.replica().restart().unwrap();
        becomes(true).await;
        ended.store(true, Ordering::Relaxed);
    };
    tokio::join!(reading, failing);
    assert!(!server.output().contains("panicked"), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_answers_a_read_that_a_recovery_conflict_cancels() {
    let shop = Shop::start().await;
    let (_server, address) = shop.serve(600).await;
    let connect = async |server: &Postgres| PgConnection::connect(&server.url("shop")).await.unwrap();
    let (mut primary, mut replica) = (connect(&shop.pair.primary).await, connect(shop.replica()).await);
    for setting in [
        "alter system set max_standby_streaming_delay = 0",
        "select pg_reload_conf()",
    ] {
        replica.execute(setting).await.unwrap();
    }
    // On the replica, the read takes until the conflict cancels it.
    primary
        .execute(
            "alter table category rename to all_categories;
             create view category as select * from all_categories
             where (select not pg_is_in_recovery() or pg_sleep(600)::text is not null)",
        )
        .await
        .unwrap();
    caught_up(&shop.pair.primary, shop.replica()).await;
    let conflict = async {
        eventually("the replica runs the read", async || {
            let reads = "select exists (select from pg_stat_activity where wait_event = 'PgSleep')";
            sqlx::query_scalar(reads).fetch_one(&mut replica).await.unwrap()
        })
        .await;
        let lock = "begin; lock table all_categories; commit";
        primary.execute(lock).await.unwrap();
    };
    let (answer, ()) = tokio::join!(get(address, "/api/categories/"), conflict);
    assert_eq!(names(&answer), Vec::<Value>::new());
    eventually("the replica counts the conflict", async || {
        let conflicts = "select confl_lock from pg_stat_database_conflicts where datname = 'shop'";
        let conflicts: i64 = sqlx::query_scalar(conflicts)
            .fetch_one(&mut replica)
            .await
            .unwrap();
        conflicts == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_serves_reads_through_a_transaction_pooler() {
    let shop = Shop::start().await;
    create_role(&shop.pair.primary, "pooled", &role_settings()).await;
    caught_up(&shop.pair.primary, shop.replica()).await;
    let mut pooler = PgBouncer::start(shop.replica(), "pooled", &all_documented()).await;
    let (_server, address) = shop.serve_with(&pooler.url("shop"), 600).await;
    let [ben, eve] = ["10.0.0.1", "10.0.0.2"].map(|of| Caller(address, of));
    pause_replay(shop.replica()).await;
    ben.create("Lamps").await;
    for _ in 0..8 {
        assert_eq!(eve.names().await, Vec::<Value>::new());
        assert_eq!(ben.names().await, ["Lamps"]);
    }

    pooler.kill();
    eventually("the primary serves reads", async || {
        eve.names().await == ["Lamps"]
    })
    .await;
    resume_replay(shop.replica()).await;
    pooler.restart().await;
    eventually("the replica is in use", async || is_in_use(address).await).await;
    assert_eq!(eve.names().await, ["Lamps"]);
}
