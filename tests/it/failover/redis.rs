//! A failover of Redis: the server at the address becomes a replica, and its connections stay open.

use afforo::{config::RedisSettings, outbox::ConfirmOrders, worker::Queues};
use reqwest::Method;
use serde_json::json;

use crate::{
    support::{
        app::{TestApp, patient, production, redis_at, send},
        moving::MovingAddress,
        program::eventually,
        redis::{RedisPair, RedisServer},
    },
    worker::{Worker, confirmed},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_and_limits_continue_after_a_redis_failover() {
    let pair = RedisPair::start().await;
    let address = MovingAddress::of(pair.old.socket()).await;
    let url = format!("redis://127.0.0.1:{}/0", address.port);
    let limited = afforo::config::HttpSettings {
        rate_limit_enabled: true,
        ..production()
    };
    let app = TestApp::start_with_redis(&url, limited, patient()).await;
    let settings: RedisSettings = app.redis.clone();
    let worker = Worker::start_on(&app, &settings);
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 100).await;
    let limit = async || {
        let asked = app.request(Method::GET, "/api/products/autocomplete/?q=lam");
        send(asked).await.header("x-ratelimit-limit").to_owned()
    };
    let mut placed = Vec::new();
    // Several at once, so that the pool has several connections.
    for _ in 0..3 {
        placed.push(app.order(store, &[(product, 1)]).await.created());
    }
    eventually("the orders are confirmed", async || {
        confirmed(&app.pool).await == placed
    })
    .await;
    eventually("autocomplete is limited", async || limit().await == "20").await;
    assert_eq!(app.get("/health/ready/").await.body["redis"], true);

    // All connections stay open and lead to a server that is now a replica.
    pair.change_places().await;
    eventually("Redis is not ready", async || {
        let ready = app.get("/health/ready/").await;
        assert_eq!(ready.status, 200, "the server is ready without Redis");
        (&ready.body["redis"], &ready.body["status"]) == (&json!(false), &json!("degraded"))
    })
    .await;
    address.move_to(pair.new.socket());
    for _ in 0..3 {
        placed.push(app.order(store, &[(product, 1)]).await.created());
    }
    eventually("all are confirmed", async || confirmed(&app.pool).await == placed).await;
    eventually("autocomplete is limited again", async || limit().await == "20").await;
    eventually("Redis is ready", async || {
        app.get("/health/ready/").await.body["redis"] == true
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_redis_keys_have_the_prefix_and_are_separate_from_others() {
    let server = RedisServer::start();
    let settings = RedisSettings {
        redis_key_prefix: "shop:".to_owned(),
        ..redis_at(&server.url(0))
    };
    let limited = afforo::config::HttpSettings {
        rate_limit_enabled: true,
        ..production()
    };
    let app = TestApp::start_with_redis_settings(settings.clone(), limited, patient()).await;
    let worker = Worker::start_on(&app, &settings);
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 100).await;
    let placed = vec![app.order(store, &[(product, 1)]).await.created()];
    eventually("the order is confirmed", async || {
        confirmed(&app.pool).await == placed
    })
    .await;
    let limit = async || app.get("/api/products/autocomplete/?q=lam").await;
    eventually("autocomplete is limited", async || {
        limit().await.header("x-ratelimit-limit") == "20"
    })
    .await;
    assert_eq!(app.get("/health/ready/").await.body["redis"], true);
    worker.stop().await;

    let client = redis::Client::open(server.url(0)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    let with = |start: &str| keys.iter().any(|key| key.starts_with(start));
    assert!(
        with("shop:{q:confirm-orders}:") && with("shop:rate_limit:autocomplete:"),
        "{keys:?}"
    );
    assert!(keys.iter().all(|key| key.starts_with("shop:")), "{keys:?}");

    let (ours, others) = (
        Queues::new(&settings).unwrap(),
        Queues::new(&redis_at(&server.url(0))).unwrap(),
    );
    let job = ConfirmOrders::new(vec![1]);
    ours.confirmations.push("job", &job).await.unwrap();
    assert_eq!(ours.confirmations.counts().await.unwrap().ready, 1);
    assert_eq!(others.confirmations.counts().await.unwrap().ready, 0);
}
