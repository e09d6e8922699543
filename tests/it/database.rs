//! Pooled connections are safe: a transaction that sqlx leaves open does not affect the next write.

use std::time::Duration;

use afforo::db::{Database, ReadPool};
use futures::FutureExt;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgPool, postgres::PgPoolOptions};

use crate::support::servers::{self, TestDatabase};

/// A pool of one connection as sqlx makes it, and one as Afforo does.
async fn pools(database: &TestDatabase) -> (PgPool, PgPool) {
    let plain = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .connect(&database.url())
        .await
        .unwrap();
    let ours = Database::new(&database.url(), 1, 1).unwrap().pool;
    (plain, ours)
}

/// Begins a transaction and is cancelled before the response to `BEGIN`.
async fn cancel_a_begin(pool: &PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    // A response may already have arrived.
    while let Some(begun) = connection.begin().now_or_never() {
        begun.unwrap().rollback().await.unwrap();
    }
}

/// Makes ten writes, each after a cancelled `begin`. Returns how many acknowledged writes other connections see.
async fn writes_that_stay(pool: &PgPool, observer: &PgPool) -> i64 {
    for number in 0..10 {
        cancel_a_begin(pool).await;
        let written = sqlx::query("insert into category (name) values ($1)")
            .bind(format!("Category {number}"))
            .execute(pool)
            .await
            .unwrap();
        assert_eq!(written.rows_affected(), 1);
    }
    let there = "select count(*) from category";
    sqlx::query_scalar(there).fetch_one(observer).await.unwrap()
}

#[tokio::test]
async fn cancelled_begin_loses_no_write() {
    let (one, other) = (servers::database().await, servers::database().await);
    let observer = PgPool::connect(&one.url()).await.unwrap();
    let (plain, _) = pools(&one).await;
    let lost = 10 - writes_that_stay(&plain, &observer).await;
    assert!(lost > 0, "sqlx has fixed this: is the workaround still needed?");

    let observer = PgPool::connect(&other.url()).await.unwrap();
    let (_, ours) = pools(&other).await;
    assert_eq!(writes_that_stay(&ours, &observer).await, 10);
}

/// A backend that does not respond until this value is dropped.
pub(crate) struct Silent(Pid);

impl Silent {
    async fn backend_of(connection: &mut sqlx::PgConnection) -> Self {
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(connection)
            .await
            .unwrap();
        Self::backend(pid)
    }

    pub(crate) fn backend(pid: i32) -> Self {
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[tokio::test]
async fn silent_connection_is_replaced_in_the_pool() {
    let database = servers::database().await;
    let (plain, ours) = pools(&database).await;
    for (pool, recovers) in [(plain, false), (ours, true)] {
        let mut connection = pool.acquire().await.unwrap();
        let silent = Silent::backend_of(&mut connection).await;
        drop(connection);
        // The pool frees the slot once it notices the dead connection. A plain pool never does.
        let next = pool.acquire().await;
        assert_eq!(next.is_ok(), recovers, "{:?}", next.err());
        if let Ok(mut next) = next {
            let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
                .fetch_one(&mut *next)
                .await
                .unwrap();
            assert_ne!(Pid::from_raw(pid), Some(silent.0));
        }
    }
}

/// A pool of one connection for reads.
fn reads(database: &TestDatabase) -> ReadPool {
    Database::new(&database.url(), 1, 1).unwrap().reads
}

async fn backend(pool: &ReadPool) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn read_costs_one_statement_and_keeps_its_connection() {
    let database = servers::database().await;
    let observer = PgPool::connect(&database.url()).await.unwrap();
    let pool = reads(&database);
    let first = backend(&pool).await;
    sqlx::query("create extension pg_stat_statements")
        .execute(&observer)
        .await
        .unwrap();
    for _ in 0..20 {
        assert_eq!(backend(&pool).await, first);
    }
    let statements: Vec<(String, i64)> = sqlx::query_as(
        "select query, calls from pg_stat_statements s join pg_database d on d.oid = s.dbid
         where d.datname = current_database() and (query like '%pg_backend_pid%' or query like '%ROLLBACK%')",
    )
    .fetch_all(&observer)
    .await
    .unwrap();
    assert_eq!(statements, [("select pg_backend_pid()".to_owned(), 21)]);
}

#[tokio::test]
async fn failed_or_cancelled_read_closes_its_connection() {
    let database = servers::database().await;
    let pool = reads(&database);
    let first = backend(&pool).await;
    let failed = sqlx::query("select 1 / (random() * 0)::int")
        .fetch_one(&pool)
        .await;
    assert!(failed.is_err());
    let second = backend(&pool).await;
    assert_ne!(second, first);

    let slow = sqlx::query("select pg_sleep(60)").fetch_one(&pool);
    let cancelled = tokio::time::timeout(Duration::from_millis(100), slow).await;
    assert!(cancelled.is_err());
    let third = backend(&pool).await;
    assert!(![first, second].contains(&third));
    assert_eq!(pool.usage().in_use, 0);
}

#[tokio::test]
async fn silent_connection_for_reads_is_replaced() {
    let database = servers::database().await;
    let pool = reads(&database);
    let silent = Silent::backend(backend(&pool).await);
    let asked = tokio::time::timeout(
        Duration::from_millis(100),
        sqlx::query("select 1").fetch_one(&pool),
    );
    assert!(asked.await.is_err());
    assert_ne!(Pid::from_raw(backend(&pool).await), Some(silent.0));
}

#[tokio::test]
async fn pool_for_reads_rejects_writes() {
    let database = servers::database().await;
    let written = sqlx::query("insert into category (name) values ('Tools')")
        .execute(&reads(&database))
        .await;
    let error = written.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "25006");
}

#[tokio::test]
async fn closed_pool_for_reads_closes_its_connections() {
    let database = servers::database().await;
    let observer = PgPool::connect(&database.url()).await.unwrap();
    let pools = Database::new(&database.url(), 1, 1).unwrap();
    let pid = backend(&pools.reads).await;
    pools.close().await;
    let closed = sqlx::query("select 1").fetch_one(&pools.reads).await;
    assert!(matches!(closed, Err(sqlx::Error::PoolClosed)));
    let is_there = "select exists (select from pg_stat_activity where pid = $1)";
    while sqlx::query_scalar(is_there)
        .bind(pid)
        .fetch_one(&observer)
        .await
        .unwrap()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_test_database_is_separate() {
    for database in [servers::database().await, servers::database().await] {
        let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
        sqlx::query("create table only_here (id int)")
            .execute(&mut connection)
            .await
            .unwrap();
    }
}
