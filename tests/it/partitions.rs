//! Partitions of the history: conversion while orders are placed, new partitions, and detached ones.

mod detached;

use std::collections::BTreeSet;

use afforo::{
    db,
    partitions::{self, Converted},
};
use futures::future::join_all;
use rustix::process::Signal;
use sqlx::{Executor, PgPool, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;

use crate::support::{
    app::{TestApp, unbalanced},
    program::{Output, Running, afforo, eventually, run},
};

/// A width of ranges that tests can fill.
const SIZE: i64 = 8;

async fn options(app: &TestApp) -> PgConnectOptions {
    db::bulk_options(&app.database_url).await.unwrap()
}

async fn convert(app: &TestApp) -> Converted {
    partitions::convert(&options(app).await, SIZE).await.unwrap()
}

async fn command(app: &TestApp, args: &[&str]) -> Output {
    let args = [&["partitions"], args].concat();
    run(afforo(&args).env("DATABASE_URL", &app.database_url)).await
}

/// Runs a command that waits for the lock of another transaction on the stores, and kills it then.
async fn kill_while_it_waits(app: &TestApp, args: &[&str]) {
    let mut other = app.pool.begin().await.unwrap();
    other
        .execute("lock table store in access share mode")
        .await
        .unwrap();
    let args = [&["partitions"], args].concat();
    let mut waiting = Running::start(afforo(&args).env("DATABASE_URL", &app.database_url));
    waiting.says("waits for a lock").await;
    waiting.signal(Signal::KILL);
    waiting.ends().await;
    other.rollback().await.unwrap();
    eventually("PostgreSQL has noticed it", async || {
        let held = "select locktype from pg_locks where locktype = 'advisory'
                    and database = (select oid from pg_database where datname = current_database())";
        texts(&app.pool, held).await.is_empty()
    })
    .await;
}

async fn texts(pool: &PgPool, sql: &'static str) -> BTreeSet<String> {
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
    rows.into_iter().collect()
}

/// Indexes, constraints, triggers and privileges of the tables.
async fn definitions(pool: &PgPool) -> BTreeSet<String> {
    texts(
        pool,
        "with history as (select to_regclass(name) as oid from unnest('{orders, order_item, stock_movement}'::text[]) name)
         select replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') from pg_index where indrelid in (select oid from history)
         union all select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
             where conrelid in (select oid from history) and conname not like '%_partition_bound'
         union all select translate(pg_get_triggerdef(oid), '()', '') from pg_trigger where tgrelid in (select oid from history) and not tgisinternal
         union all select relname || ' ' || acl from pg_class cross join unnest(relacl::text[]) acl
             where oid in (select oid from history) or relname = 'orders_id_seq'
         union all select format('%s.%s %s %s %s %s', attrelid::regclass, attname, atttypid::regtype, attnotnull, attidentity,
                 pg_get_serial_sequence(attrelid::regclass::text, attname))
             from pg_attribute where attrelid in (select oid from history) and attnum > 0",
    )
    .await
}

async fn bounds(pool: &PgPool) -> usize {
    let names = "select conname::text from pg_constraint where conname like '%_partition_bound'";
    texts(pool, names).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_converted_while_orders_are_placed() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
    app.stock(store, lamp, 1_000_000).await;
    app.order(store, &[(lamp, 1)]).await.created();
    app.pool
        .execute(
            "do $$ begin execute format('create role analyst_%s', current_database()); end $$;
             do $$ begin execute format('grant select on orders to analyst_%s', current_database()); end $$;
             create view sold as select id from orders",
        )
        .await
        .unwrap();
    let refused = command(&app, &["convert"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("view sold"), "{}", refused.err);
    app.pool.execute("drop view sold").await.unwrap();
    let before = definitions(&app.pool).await;

    let done = CancellationToken::new();
    let placing = async |()| {
        let mut ids = Vec::new();
        while !done.is_cancelled() {
            ids.push(app.order(store, &[(lamp, 1)]).await.created());
        }
        ids
    };
    let reading = async {
        while !done.is_cancelled() {
            for path in ["/api/orders/", "/api/orders/1/", "/api/inventory/1/movements/"] {
                let answer = app.get(path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            }
        }
    };
    let converting = async {
        kill_while_it_waits(&app, &["convert"]).await;
        assert_eq!(bounds(&app.pool).await, 3);
        // The worker does it too.
        assert_eq!(partitions::ensure(&app.pool).await.unwrap(), Vec::<String>::new());
        assert_eq!(bounds(&app.pool).await, 0);
        let converted = command(&app, &["convert"]).await;
        assert_eq!(
            converted.out, "The tables are partitioned.\n",
            "{}",
            converted.err
        );
        for _ in 0..3 {
            app.order(store, &[(lamp, 1)]).await.created();
        }
        done.cancel();
    };
    let (placed, (), ()) = tokio::join!(join_all([(); 4].map(placing)), reading, converting);

    let placed = placed.concat();
    assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), placed.len());
    assert_eq!(definitions(&app.pool).await, before);
    assert_eq!(bounds(&app.pool).await, 0);
    assert_eq!(unbalanced(&app.pool).await, []);
    let again = command(&app, &["convert"]).await;
    assert_eq!(
        again.out, "The tables were partitioned before.\n",
        "{}",
        again.err
    );
    let listed = command(&app, &["list"]).await.out;
    for line in [
        "orders_0 ",
        "orders_20000000 ",
        "order_item_20000000 ",
        "stock_movement_20000000 ",
        "FOR VALUES FROM (MINVALUE) TO ('20000000')",
    ] {
        assert!(listed.contains(line), "{line} is not in\n{listed}");
    }
    assert_eq!(listed.lines().count(), 6, "{listed}");
}

/// Has the sequences skip ids up to the next range, and makes partitions.
async fn skip(app: &TestApp, ids: i64) {
    for sequence in ["orders_id_seq", "stock_movement_id_seq"] {
        sqlx::query("select nextval($1::text::regclass) from generate_series(1, $2)")
            .bind(sequence)
            .bind(ids)
            .execute(&app.pool)
            .await
            .unwrap();
    }
    partitions::ensure(&app.pool).await.unwrap();
}

#[tokio::test]
async fn ids_never_reach_the_end_of_the_partitions() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
    app.stock(store, lamp, 1000).await;
    assert_eq!(convert(&app).await, Converted::Now);
    for _ in 0..6 {
        // At most two ranges between two runs of the worker.
        skip(&app, 2 * SIZE - 2).await;
        app.order(store, &[(lamp, 1)]).await.created();
        app.order(store, &[(lamp, 1)]).await.created();
    }
    // A backup blocks neither new partitions nor orders.
    let mut backup = app.pool.begin().await.unwrap();
    let locks = "lock table orders, order_item, stock_movement, store, inventory in access share mode";
    backup.execute(locks).await.unwrap();
    skip(&app, SIZE).await;
    let last = app.order(store, &[(lamp, 1)]).await.created();
    backup.rollback().await.unwrap();
    let filled: i64 = sqlx::query_scalar("select count(distinct tableoid) from orders")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(filled > 5, "{filled} partitions up to order {last}");
    assert_eq!(unbalanced(&app.pool).await, []);
}

#[tokio::test]
async fn partitioned_tables_answer_as_plain_ones() {
    let (plain, partitioned) = tokio::join!(TestApp::start(), TestApp::start());
    convert(&partitioned).await;
    let mut answers = Vec::new();
    for app in [plain, partitioned] {
        for number in 1..=3 {
            app.store(&format!("Store {number}")).await;
            app.product(&format!("Lamp {number}"), "10.00").await;
        }
        for (store, product) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 3)] {
            app.stock(store, product, 100).await;
        }
        for number in 0..60 {
            partitions::ensure(&app.pool).await.unwrap();
            let quantity = if number % 7 == 0 { 1000 } else { 1 };
            app.order(number % 3 + 1, &[(1, quantity), (number % 4 + 1, 1)])
                .await;
        }
        let mut texts = Vec::new();
        for path in [
            "/api/orders/",
            "/api/orders/?page=2",
            "/api/orders/?page=last",
            "/api/orders/?cursor=",
            "/api/orders/?status=rejected&page=2",
            "/api/orders/?status=confirmed&cursor=",
            "/api/orders/?store_id=2",
            "/api/orders/?store_id=2&status=confirmed&page=2",
            "/api/orders/stats/",
            "/api/orders/1/",
            "/api/orders/33/",
            "/api/orders/99/",
            "/api/inventory/1/movements/",
            "/api/inventory/1/movements/?page=2",
            "/api/inventory/1/movements/?cursor=",
        ] {
            let text = app.get(path).await.untimed();
            texts.push((path, text.replace(&app.address.to_string(), "host")));
        }
        answers.push(texts);
        assert_eq!(unbalanced(&app.pool).await, []);
    }
    assert_eq!(answers[0], answers[1]);
}
