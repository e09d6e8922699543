//! A failover of PostgreSQL: the address leads to a standby, which becomes the primary.

use afforo::db;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{
    app::{TestApp, order},
    moving::MovingAddress,
    program::eventually,
    redis::RedisServer,
    standby::{Pair, caught_up, pause_replay, promote, resume_replay, socket},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_on_a_standby_answers_503_until_it_is_promoted() {
    let pair = Pair::start().await;
    let redis = RedisServer::start();
    let mut admin = PgConnection::connect(&pair.primary.url("postgres"))
        .await
        .unwrap();
    admin.execute("create database shop").await.unwrap();
    admin.close().await.unwrap();
    db::migrate(&pair.primary.url("shop")).await.unwrap();
    let address = MovingAddress::of(socket(&pair.primary)).await;
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/shop?sslmode=disable",
        address.port
    );
    let app = TestApp::start_at(&url, &redis.url(0)).await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 100).await;
    app.order(store, &[(product, 1)]).await.created();
    assert_eq!(app.get("/health/ready/").await.status, 200);
    // A standby that receives changes but does not replay them delays no commit.
    pause_replay(&pair.standby).await;
    app.order(store, &[(product, 1)]).await.created();
    resume_replay(&pair.standby).await;
    caught_up(&pair.primary, &pair.standby).await;

    // As in a failover: the primary is gone, and its address leads to the standby before that is promoted.
    pair.primary.kill();
    address.move_to(socket(&pair.standby));
    address.cut();
    let (body, change) = (
        order(store, &[(product, 1)]),
        json!({ "location": "Main Street 2" }),
    );
    let path = format!("/api/stores/{store}/");
    let (read, placed, changed) = tokio::join!(
        app.get("/api/products/"),
        app.post("/api/orders/", &body),
        app.patch(&path, &change),
    );
    for answer in [&read, &placed, &changed] {
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
    }
    // The result of the check is cached for a second.
    eventually("the server is not ready", async || {
        let ready = app.get("/health/ready/").await;
        (ready.status.as_u16(), &ready.body["database"]) == (503, &json!(false))
    })
    .await;

    promote(&pair.standby).await;
    eventually("the server is ready", async || {
        app.get("/health/ready/").await.status == 200
    })
    .await;
    app.order(store, &[(product, 1)]).await.created();
    assert_eq!(app.patch(&path, &change).await.status, 200);
    assert_eq!(app.get("/api/products/").await.status, 200);
    assert!(app.unbalanced().await.is_empty());
}
