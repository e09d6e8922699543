//! Faults between an order and its confirmation.

use std::time::Duration;

use afforo::{
    config::RedisSettings,
    outbox,
    worker::{Queues, Relay, Relayed},
};
use reqwest::Method;
use rustix::process::Signal;
use sqlx::Executor;

use super::{SENT, Worker, confirmed, execute, ids, is_idle, orders, owed, queues, worker_process};
use crate::{
    database::Silent,
    support::{
        app::{TestApp, client, order, send},
        locks::waiting_for_locks,
        program::{Running, afforo, eventually, on},
        redis::RedisServer,
    },
};

pub(super) fn settings(redis: &RedisServer) -> RedisSettings {
    RedisSettings {
        redis_url: Some(redis.url(0).into()),
        redis_pool_size: 2,
        redis_key_prefix: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_placed_without_redis_are_confirmed_once_it_is_back() {
    let app = TestApp::start().await;
    let redis = RedisServer::start();
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 100).await;
    let mut command = afforo(&["serve", "127.0.0.1:0", "--with-worker"]);
    on(&mut command, &app.database_url, &redis.url(0));
    let mut server = Running::start(&mut command);
    let url = format!("http://{}/api/orders/", server.address().await);
    let place = async || {
        let request = client().request(Method::POST, &url);
        send(request.json(&order(store, &[(product, 1)]))).await.created()
    };
    let mut placed = vec![place().await];
    eventually("the first is confirmed", async || {
        confirmed(&app.pool).await == placed
    })
    .await;

    redis.kill();
    for _ in 0..5 {
        placed.push(place().await);
    }
    server.says("confirmations cannot be queued").await;
    assert_eq!(owed(&app.pool).await, placed[1..]);
    redis.restart();
    eventually("all are confirmed", async || confirmed(&app.pool).await == placed).await;
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
    server.signal(Signal::TERM);
    assert_eq!(server.ends().await.code(), Some(0));
    assert_eq!(server.output().matches(SENT).count(), placed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_then_emptied_redis_fails_no_order_and_no_confirmation() {
    let app = TestApp::start().await;
    let redis = RedisServer::start();
    let worker = Worker::start_on(&app, &settings(&redis));
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 1000).await;
    let mut placed = vec![app.order(store, &[(product, 1)]).await.created()];
    eventually("the first is confirmed", async || {
        confirmed(&app.pool).await == placed
    })
    .await;
    redis.pause();
    for _ in 0..50 {
        placed.push(app.order(store, &[(product, 1)]).await.created());
    }
    assert_eq!(owed(&app.pool).await, placed[1..]);
    redis.restart();
    eventually("all are confirmed", async || confirmed(&app.pool).await == placed).await;
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_relay_step_leaves_its_rows_due_without_an_attempt() {
    let app = TestApp::start().await;
    let redis = RedisServer::start();
    let queues = Queues::new(&settings(&redis)).unwrap();
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    let orders = orders(&app, 2).await;
    let untried = async || {
        ids(
            &app.pool,
            "select unnest(order_ids) from outbox where due_at <= now() and handouts = 0 order by 1",
        )
        .await
    };
    redis.kill();
    relay.step().await.unwrap_err();
    assert_eq!(untried().await, orders);
    redis.restart();

    // Redis responds but accepts no writes.
    let mut connection = redis::Client::open(redis.url(0))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let mut set_memory = async |limit: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(limit);
        command.exec_async(&mut connection).await.unwrap();
    };
    set_memory("1").await;
    eventually("the push is refused", async || {
        let refused = relay.step().await.unwrap_err().to_string();
        assert_eq!(untried().await, orders);
        refused.contains("OOM")
    })
    .await;
    set_memory("0").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_lost_by_redis_are_confirmed_after_their_lease() {
    let app = TestApp::start().await;
    let redis = RedisServer::start();
    let queues = Queues::new(&settings(&redis)).unwrap();
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    let orders = orders(&app, 3).await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(3));
    let mut connection = redis::Client::open(redis.url(0))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    assert_eq!(queues.confirmations.counts().await.unwrap().ready, 0);

    let worker = Worker::start_on(&app, &settings(&redis));
    assert_eq!(relay.step().await.unwrap(), Relayed::Nothing, "the lease holds");
    execute(&app.pool, "update outbox set due_at = due_at - interval '1 min'").await;
    eventually("all are confirmed", async || confirmed(&app.pool).await == orders).await;
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_worker_loses_no_confirmation_and_sends_none_twice() {
    let app = TestApp::start().await;
    let (queues, orders) = (queues(&app), orders(&app, 30).await);
    // Confirmations cannot be written for now, so the jobs are certainly running.
    let mut blocker = app.pool.begin().await.unwrap();
    blocker
        .execute("lock table order_confirmation in share row exclusive mode")
        .await
        .unwrap();
    let mut killed = worker_process(&app.database_url, app.redis.url());
    eventually("jobs are at work", async || {
        queues.confirmations.counts().await.unwrap().running > 0
    })
    .await;
    eventually("the jobs wait for the database", async || {
        waiting_for_locks(&app.pool).await > 0
    })
    .await;
    killed.signal(Signal::KILL);
    killed.ends().await;
    // As in a crash of the machine: otherwise PostgreSQL ends the statements of a disconnected client.
    execute(
        &app.pool,
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'",
    )
    .await;
    blocker.rollback().await.unwrap();
    assert_eq!(confirmed(&app.pool).await, Vec::<i64>::new());
    assert_eq!(owed(&app.pool).await, orders);

    let mut worker = worker_process(&app.database_url, app.redis.url());
    execute(&app.pool, "update outbox set due_at = now()").await;
    eventually("all are confirmed", async || confirmed(&app.pool).await == orders).await;
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
    eventually("each confirmation is in the log", async || {
        worker.output().matches(SENT).count() >= orders.len()
    })
    .await;
    worker.signal(Signal::TERM);
    worker.ends().await;
    assert_eq!(worker.output().matches(SENT).count(), orders.len());
    assert_eq!(killed.output().matches(SENT).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmation_refused_by_the_database_is_retried() {
    let app = TestApp::start().await;
    let orders = orders(&app, 1).await;
    execute(
        &app.pool,
        "alter table order_confirmation add constraint refused check (order_id < 0)",
    )
    .await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    eventually("the job failed and waits", async || {
        queues.confirmations.counts().await.unwrap().delayed == 1
    })
    .await;
    assert_eq!(owed(&app.pool).await, orders);
    execute(
        &app.pool,
        "alter table order_confirmation drop constraint refused",
    )
    .await;
    eventually("the order is confirmed", async || {
        confirmed(&app.pool).await == orders && is_idle(&queues).await
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbox_row_is_not_dead_because_postgresql_fails() {
    let app = TestApp::start().await;
    let orders = orders(&app, 3).await;
    // A rollback does not reset a sequence.
    execute(
        &app.pool,
        "create sequence tries;
         create function refuse() returns trigger language plpgsql as
         $$ begin perform nextval('tries'); raise exception 'the disk is full' using errcode = '53100'; end $$;
         create trigger unwell before insert on order_confirmation for each statement execute function refuse()",
    )
    .await;
    let relay = Relay::new(app.pool.clone(), queues(&app).confirmations);
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(3));
    execute(&app.pool, "update outbox set handouts = 2").await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    eventually("the job has given up", async || is_idle(&queues).await).await;
    let rows: Vec<(i32, bool, Option<String>)> =
        sqlx::query_as("select handouts, due_at > now(), error from outbox order by id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), 3);
    for (handouts, leased, error) in rows {
        assert_eq!((handouts, leased), (1, true));
        assert!(error.unwrap().contains("the disk is full"));
    }
    let tries = ids(&app.pool, "select last_value from tries").await;
    assert_eq!(tries, [4], "one for each attempt of the job, and none for a row");
    assert!(outbox::dead(&app.pool, 10).await.unwrap().is_empty());

    execute(
        &app.pool,
        "drop trigger unwell on order_confirmation; update outbox set due_at = now()",
    )
    .await;
    eventually("all are confirmed", async || confirmed(&app.pool).await == orders).await;
    worker.stop().await;
}

#[tokio::test]
async fn attempts_counted_by_older_workers_are_ignored() {
    let app = TestApp::start().await;
    let relay = Relay::new(app.pool.clone(), queues(&app).confirmations);
    execute(
        &app.pool,
        "insert into outbox (order_ids, attempts) values ('{1}', 40), ('{2}', 0)",
    )
    .await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
    assert_eq!(queues(&app).confirmations.counts().await.unwrap().ready, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_waiting_for_a_silent_database_stops_on_shutdown() {
    let app = TestApp::start().await;
    let mut blocker = app.pool.begin().await.unwrap();
    blocker.execute("lock table outbox").await.unwrap();
    let worker = Worker::start(&app);
    let sql =
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let mut waiting: Option<i32> = None;
    eventually("its relay waits", async || {
        waiting = sqlx::query_scalar(sql).fetch_optional(&app.pool).await.unwrap();
        waiting.is_some()
    })
    .await;
    let _silent = Silent::backend(waiting.unwrap());
    blocker.rollback().await.unwrap();
    // A silent server has 45 s, unless the worker is asked to stop.
    let ended = tokio::time::timeout(Duration::from_secs(30), worker.stop()).await;
    ended.expect("the worker ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_confirmation_does_not_block_others() {
    let app = TestApp::start().await;
    let orders = orders(&app, 3).await;
    let mut elsewhere = app.pool.begin().await.unwrap();
    let lock = sqlx::query("insert into order_confirmation (order_id) values ($1)").bind(orders[1]);
    lock.execute(&mut *elsewhere).await.unwrap();
    let worker = Worker::start(&app);
    eventually("the others are confirmed", async || {
        confirmed(&app.pool).await == [orders[0], orders[2]]
    })
    .await;
    elsewhere.rollback().await.unwrap();
    eventually("the other order is confirmed", async || {
        confirmed(&app.pool).await == orders
    })
    .await;
    worker.stop().await;
}
