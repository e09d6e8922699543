//! `/health/ready/`

use std::time::Duration;

use afforo::server::Limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::{Answer, TestApp, production, send},
    program::eventually,
    redis::RedisServer,
};

fn ready() -> Value {
    json!({ "status": "ready", "draining": false, "database": true, "schema": "current", "redis": true })
}

/// Waits for a response with this status, because the result of the check is cached.
async fn becomes(app: &TestApp, status: &str) -> Answer {
    let mut answer = None;
    eventually(status, async || {
        let now = app.get("/health/ready/").await;
        let is_it = now.body["status"] == status;
        answer = Some(now);
        is_it
    })
    .await;
    answer.unwrap()
}

#[tokio::test]
async fn server_is_ready_when_database_schema_and_redis_are() {
    let app = TestApp::start().await;
    for path in ["/health/ready/", "/health/ready"] {
        app.get(path).await.is(200, ready());
    }
    let head = send(app.request(Method::HEAD, "/health/ready/")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    app.post("/health/ready/", &json!({})).await.is_text(
        403,
        r#"{"detail":"Only GET, HEAD and OPTIONS are allowed here."}"#,
    );
}

#[tokio::test]
async fn busy_server_is_ready() {
    let app = TestApp::start().await;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(app.pool.acquire().await.unwrap());
    }
    app.get("/health/ready/").await.is(200, ready());
}

#[tokio::test]
async fn older_schema_is_unready_and_newer_schema_is_ready() {
    let app = TestApp::start().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'from the future', true, '', 0)",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let mut newer = ready();
    newer["schema"] = json!("ahead");
    app.get("/health/ready/").await.is(200, newer);

    sqlx::query("delete from _sqlx_migrations where version = 2")
        .execute(&app.pool)
        .await
        .unwrap();
    let behind = json!({ "status": "unready", "draining": false, "database": true, "schema": "behind", "redis": true });
    becomes(&app, "unready").await.is(503, behind);
}

#[tokio::test]
async fn server_is_unready_while_its_database_is_away() {
    let app = TestApp::start().await;
    app.get("/health/ready/").await.is(200, ready());
    let admin = crate::support::servers::postgres().url("postgres");
    let admin = sqlx::PgPool::connect(&admin).await.unwrap();
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&admin)
            .await
            .unwrap();
    };
    run(format!("alter database {name} allow_connections false")).await;
    run(format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
    ))
    .await;
    let away = json!({ "status": "unready", "draining": false, "database": false, "schema": "unknown", "redis": true });
    becomes(&app, "unready").await.is(503, away);
    // The server still responds, so a restart would not help.
    assert_eq!(app.get("/health/").await.status, 200);
    run(format!("alter database {name} allow_connections true")).await;
    becomes(&app, "ready").await.is(200, ready());
}

#[tokio::test]
async fn server_without_redis_is_degraded() {
    let redis = RedisServer::start();
    let app = TestApp::start_with_redis(&redis.url(0), production(), Limits::default()).await;
    app.get("/health/ready/").await.is(200, ready());
    redis.kill();
    let degraded = json!({ "status": "degraded", "draining": false, "database": true, "schema": "current", "redis": false });
    becomes(&app, "degraded").await.is(200, degraded);
}

#[tokio::test]
async fn server_about_to_stop_is_unready_but_answers() {
    let limits = Limits {
        delay: Duration::from_mins(1),
        ..Limits::default()
    };
    let app = TestApp::start_within(production(), limits).await;
    app.get("/health/ready/").await.is(200, ready());
    app.stop.announced.cancel();
    let draining = json!({ "status": "unready", "draining": true, "database": true, "schema": "current", "redis": true });
    app.get("/health/ready/").await.is(503, draining);
    app.category("Written all the same").await;
}
