//! The servers of the test process: one PostgreSQL and one Redis, started by whichever test needs them first.
//!
//! Statics are never dropped, but the servers end and their folders go as soon as this process does.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use afforo::{db::MIGRATIONS, partitions};
use devstack::{Postgres, Redis};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// The PostgreSQL that all tests of this process share. A test that makes it fail starts its own instead.
pub fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    POSTGRES.get_or_init(|| Postgres::throwaway().expect("a throwaway PostgreSQL starts"))
}

/// The Redis that all tests of this process share. A test that makes it fail starts its own instead.
pub fn redis() -> &'static Redis {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    REDIS.get_or_init(|| Redis::throwaway().expect("a throwaway Redis starts"))
}

/// A database for one test. Dropping it removes the database, even with open connections.
#[derive(Debug)]
pub struct TestDatabase {
    pub name: String,
}

/// Creates a database with the current schema. Migrations run once per process; later databases are copies.
pub async fn database() -> TestDatabase {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    static COUNT: AtomicU32 = AtomicU32::new(0);

    TEMPLATE.get_or_init(make_template).await;
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    // Copying files is several times faster than the default, which writes every page to the log.
    let sql = format!("create database {name} template test_template strategy file_copy");
    run(sql).await.expect("a copy of the template");
    TestDatabase { name }
}

/// Makes a database without any tables.
pub async fn empty_database() -> TestDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("empty_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    run(format!("create database {name}"))
        .await
        .expect("an empty database");
    TestDatabase { name }
}

/// The number of a logical Redis database that no other test uses.
pub fn redis_database() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let db = COUNT.fetch_add(1, Ordering::Relaxed);
    assert!(db < 4096, "the throwaway Redis has 4096 databases");
    db
}

impl TestDatabase {
    /// Its address for `DATABASE_URL`.
    pub fn url(&self) -> String {
        postgres().url(&self.name)
    }
}

impl Drop for TestDatabase {
    /// Drops the database without waiting; this keeps a long run from filling the disk.
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.name);
        thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = runtime.expect("a runtime").block_on(run(sql));
        });
    }
}

async fn make_template() {
    // A test that was cancelled here may have left a database.
    run("drop database if exists test_template with (force)".to_owned())
        .await
        .expect("a fresh template");
    run("create database test_template".to_owned())
        .await
        .expect("a fresh template");
    let mut template = PgConnection::connect(&postgres().url("test_template"))
        .await
        .expect("the template is there");
    MIGRATIONS.run(&mut template).await.expect("the migrations run");
    // To run any test on partitioned tables.
    if std::env::var_os("TEST_PARTITIONED").is_some() {
        let options = postgres().url("test_template").parse().expect("a URL");
        let converted = partitions::convert(&options, 10_000_000).await;
        converted.expect("the tables are partitioned");
    }
    template
        .close()
        .await
        .expect("the template is left, so that it can be copied");
}

/// Runs one statement that cannot be part of a transaction.
async fn run(sql: String) -> sqlx::Result<()> {
    let mut admin = PgConnection::connect(&postgres().url("postgres")).await?;
    admin.execute(AssertSqlSafe(sql)).await?;
    admin.close().await
}
