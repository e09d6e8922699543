//! The private servers answer, keep persistent data, and never outlive their owner.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "blocking tests sleep on their own thread"
)]

mod ownership;
mod persistent;

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use devstack::{Postgres, Redis};
use redis::AsyncTypedCommands;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

#[tokio::test]
async fn throwaway_redis_has_4096_databases_and_speaks_resp3() {
    let redis = Redis::throwaway().unwrap();
    redis_at(&redis.url(0)).await.set("key", "here").await.unwrap();
    let mut last = redis_at(&format!("{}&protocol=resp3", redis.url(4095))).await;
    assert_eq!(last.get("key").await.unwrap(), None);
    assert_eq!(last.ping().await.unwrap(), "PONG");
}

#[test]
fn throwaway_server_removes_its_folder_when_it_stops() {
    let (postgres, redis) = (Postgres::throwaway().unwrap(), Redis::throwaway().unwrap());
    let folders = [postgres.socket_dir().to_owned(), redis.socket_dir().to_owned()];
    assert!(folders.iter().all(|folder| folder.exists()));
    drop(postgres);
    drop(redis);
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn folder_of_a_killed_throwaway_server_is_removed() {
    let redis = Redis::throwaway().unwrap();
    let folder = redis.socket_dir().to_owned();
    redis.kill();
    assert!(folder.exists());
    drop(redis);
    assert!(!folder.exists());
}

#[tokio::test]
async fn paused_server_answers_after_it_is_resumed() {
    let postgres = Postgres::throwaway().unwrap();
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    postgres.pause();
    {
        let ping = connection.ping();
        tokio::pin!(ping);
        assert!(
            tokio::time::timeout(Duration::from_millis(300), &mut ping)
                .await
                .is_err()
        );
        postgres.resume();
        ping.await.unwrap();
    }
    postgres.pause();
    drop(postgres);
}

/// A folder that the account of the servers may enter.
fn clone_folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn count(url: &str, table: &str) -> i64 {
    text(url, &format!("select count(*)::text from {table}"))
        .await
        .parse()
        .unwrap()
}

async fn text(url: &str, sql: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn redis_at(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}
