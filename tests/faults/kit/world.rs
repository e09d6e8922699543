//! PostgreSQL and Redis for one scenario, with a stocked shop.

use std::{fs, time::Instant};

use afforo::db;
use devstack::Postgres;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::{dice, until};
use crate::support::redis::RedisServer;

/// Whether PostgreSQL keeps its data after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Faster, but only for scenarios in which PostgreSQL stays up.
    Volatile,
    /// As in production: committed data survives.
    Durable,
    /// Committed data survives a kill, and standbys can follow.
    Replicated,
}

/// The servers of a scenario.
pub struct World {
    pub name: &'static str,
    pub rng: StdRng,
    pub postgres: Postgres,
    pub redis: RedisServer,
    /// Connections for checks by the test.
    pub pool: PgPool,
    started: Instant,
    _folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        println!("{}: {} s", self.name, self.started.elapsed().as_secs());
    }
}

impl World {
    /// Starts the servers and creates the schema.
    pub async fn new(name: &'static str, disk: Disk) -> Self {
        let rng = dice::of(name);
        let folder = TempDir::new().unwrap();
        let postgres = block_in_place(|| match disk {
            Disk::Volatile => Postgres::throwaway(),
            Disk::Durable => Postgres::persistent(folder.path()),
            Disk::Replicated => Postgres::throwaway_primary(),
        });
        let postgres = postgres.unwrap();
        let redis = block_in_place(RedisServer::start);
        let mut admin = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
        admin.execute("create database shop").await.unwrap();
        admin.close().await.unwrap();
        let url = postgres.url("shop");
        db::migrate(&url).await.unwrap();
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect(&url)
            .await
            .unwrap();
        Self {
            name,
            rng,
            postgres,
            redis,
            pool,
            started: Instant::now(),
            _folder: folder,
        }
    }

    /// The environment of a server or worker that uses these servers.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.postgres.url("shop")),
            ("REDIS_URL", self.redis.url(0)),
            ("RATE_LIMIT_ENABLED", "False".to_owned()),
        ]
    }

    /// Creates a store that stocks a number of products, each with `units`. Returns the store and the products.
    pub async fn stock(&self, products: i64, units: i64) -> (i64, Vec<i64>) {
        let (store, products): (i64, Vec<i64>) = sqlx::query_as(
            "with shop as (
                 insert into store (name, location) values ('Main Store', 'Main Street 1') returning id
             ), kind as (
                 insert into category (name) values ('All') returning id
             ), goods as (
                 insert into product (title, price, category_id)
                 select 'Lamp ' || n, 1.25, kind.id from kind, generate_series(1, $1) n returning id
             )
             select shop.id, array(select id from goods order by id) from shop",
        )
        .bind(products)
        .fetch_one(&self.pool)
        .await
        .unwrap();
        self.stock_store(store, &products, units).await;
        (store, products)
    }

    /// Stocks products in a store. A statement of its own, because only a later one sees the titles of new products.
    pub async fn stock_store(&self, store: i64, products: &[i64], units: i64) {
        sqlx::query(
            "with stocked as (
                 insert into inventory (store_id, product_id, quantity)
                 select $1, unnest($2::bigint[]), $3 returning id, quantity
             )
             insert into stock_movement (inventory_id, kind, delta, quantity_after)
             select id, 'INITIAL', quantity, quantity from stocked",
        )
        .bind(store)
        .bind(products)
        .bind(units)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Ends PostgreSQL like `pg_ctl stop -m immediate`: at once, as in a crash.
    async fn crash_postgres(&self) {
        let pid = Pid::from_raw(self.postgres.pid().unwrap()).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
        until("PostgreSQL has ended", async || self.postgres.pid().is_none()).await;
    }

    /// Crashes PostgreSQL after a commit has reached the disk but before the client gets the response: the commit waits for
    /// a standby that does not exist.
    pub async fn crash_postgres_after_a_commit(&self) {
        self.pool
            .execute("alter system set synchronous_standby_names = 'nobody'")
            .await
            .unwrap();
        self.pool.execute("select pg_reload_conf()").await.unwrap();
        let waits = "select exists (select from pg_stat_activity where wait_event = 'SyncRep')";
        until("a commit waits", async || {
            sqlx::query_scalar(waits).fetch_one(&self.pool).await.unwrap()
        })
        .await;
        self.crash_postgres().await;
        // This file holds only the setting that `alter system` wrote.
        fs::write(self.postgres.data_dir().join("postgresql.auto.conf"), "").unwrap();
    }

    /// Stops every PostgreSQL backend that serves Afforo: the connection stays open, but gets no response.
    pub async fn silence_backends(&self) -> Vec<Pid> {
        let backends: Vec<i32> =
            sqlx::query_scalar("select pid from pg_stat_activity where application_name = 'afforo'")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let backends: Vec<Pid> = backends.into_iter().filter_map(Pid::from_raw).collect();
        for backend in &backends {
            // The backend may have ended meanwhile.
            let _ = kill_process(*backend, Signal::STOP);
        }
        backends
    }
}

/// Resumes stopped processes. The caller passes the ids, because locks of the stopped backends may block a query for them.
pub fn wake(processes: &[Pid]) {
    for process in processes {
        let _ = kill_process(*process, Signal::CONT);
    }
}
