//! The private servers: they answer, they keep what they should, and they never outlive their owner.

mod ownership;
mod persistent;

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use devstack::{Postgres, Redis};
use redis::AsyncTypedCommands;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::support::servers;

#[tokio::test]
async fn each_test_has_a_database_and_a_redis_of_its_own() {
    let (one, other) = (servers::database().await, servers::database().await);
    execute(&one.url(), "create table only_here (id int)").await;
    execute(&other.url(), "create table only_here (id int)").await;

    let url = servers::redis().url(servers::redis_database());
    redis_at(&url).await.set("key", "here").await.unwrap();
    let url = servers::redis().url(servers::redis_database());
    assert_eq!(redis_at(&url).await.get("key").await.unwrap(), None);
    assert_eq!(
        redis_at(&format!("{url}&protocol=resp3"))
            .await
            .ping()
            .await
            .unwrap(),
        "PONG"
    );
}

#[test]
fn a_throwaway_server_takes_its_folder_along_when_it_stops() {
    let (postgres, redis) = (Postgres::throwaway().unwrap(), Redis::throwaway().unwrap());
    let folders = [postgres.socket_dir().to_owned(), redis.socket_dir().to_owned()];
    assert!(folders.iter().all(|folder| folder.exists()));
    postgres.stop();
    redis.stop();
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn a_throwaway_server_that_was_killed_takes_its_folder_along_too() {
    let redis = Redis::throwaway().unwrap();
    let folder = redis.socket_dir().to_owned();
    redis.kill();
    assert!(folder.exists());
    redis.stop();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_paused_server_keeps_its_clients_waiting_until_it_is_resumed() {
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
    postgres.stop();
}

/// The folder of a clone, which the servers' account may enter.
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
