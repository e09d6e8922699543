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

#[tokio::test]
async fn standby_follows_its_primary_and_survives_its_end() {
    let primary = Postgres::throwaway_primary().unwrap();
    execute(&primary.url("postgres"), "create table kept (id int)").await;
    let standby = primary.standby().unwrap();
    let url = standby.url("postgres");
    assert_eq!(text(&url, "select pg_is_in_recovery()::text").await, "true");
    assert_eq!(count(&url, "kept").await, 0);
    execute(&primary.url("postgres"), "insert into kept values (1)").await;
    while count(&url, "kept").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    primary.kill();
    assert_eq!(text(&url, "select pg_promote(true, 60)::text").await, "true");
    execute(&url, "insert into kept values (2)").await;
    let next = standby.standby().unwrap();
    standby.kill();
    standby.restart().unwrap();
    assert_eq!(count(&url, "kept").await, 2);
    assert_eq!(count(&next.url("postgres"), "kept").await, 2);
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
