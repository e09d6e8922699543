//! The worker: every confirmed order gets one confirmation, despite failures.

mod dead_letters;
mod faults;
mod gauges;
mod periodic;
mod relay;

use std::sync::Arc;

use afforo::{
    config::RedisSettings,
    outbox::ConfirmOrders,
    worker::{self, Notifiers, Queues, WorkerError},
};
use apalis_redis_queue::{Counts, State};
use rustix::process::Signal;
use sqlx::PgPool;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::{
    app::TestApp,
    program::{Running, afforo, eventually, on},
};

const SENT: &str = "order confirmation sent";

#[tokio::test]
async fn order_is_confirmed_once_and_its_outbox_row_removed() {
    let app = TestApp::start().await;
    let mut worker = worker_process(&app.database_url, app.redis.url());
    worker.says("worker started").await;
    let order = orders(&app, 1).await[0];
    let line = worker.says(SENT).await;
    for part in [
        format!("order_id={order}"),
        "store=\"Main Store\"".to_owned(),
        "items=1".to_owned(),
        "total_amount=1.50".to_owned(),
    ] {
        assert!(line.contains(&part), "{part} is not in {line}");
    }
    assert_eq!(confirmed(&app.pool).await, [order]);
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
    worker.signal(Signal::TERM);
    assert_eq!(worker.ends().await.code(), Some(0));
    assert_eq!(worker.output().matches(SENT).count(), 1);
}

#[tokio::test]
async fn rejected_order_has_no_outbox_row() {
    let app = TestApp::start().await;
    let rejected = app.order(app.store("Main Store").await, &[(4711, 1)]).await;
    assert_eq!(rejected.body["status"], "REJECTED");
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
}

#[tokio::test]
async fn job_that_runs_twice_confirms_once() {
    let app = TestApp::start().await;
    let orders = orders(&app, 3).await;
    let queues = queues(&app);
    for id in ["first", "second"] {
        queues
            .confirmations
            .push(id, &ConfirmOrders::new(vec![1, 2, 3]))
            .await
            .unwrap();
    }
    let mut worker = worker_process(&app.database_url, app.redis.url());
    eventually("both messages ran", async || {
        confirmed(&app.pool).await == orders && is_idle(&queues).await
    })
    .await;
    assert_eq!(owed(&app.pool).await, Vec::<i64>::new());
    worker.signal(Signal::TERM);
    worker.ends().await;
    assert_eq!(worker.output().matches(SENT).count(), 3);
}

#[tokio::test]
async fn job_naming_deleted_outbox_rows_confirms_nothing() {
    // The queue may outlive its database; ids start over in a new one.
    let app = TestApp::start().await;
    let queues = queues(&app);
    let stale = ConfirmOrders::new(vec![1, 2, 3]);
    queues.confirmations.push("stale", &stale).await.unwrap();
    let worker = Worker::start(&app);
    eventually("the message ran", async || is_idle(&queues).await).await;
    assert_eq!(confirmed(&app.pool).await, Vec::<i64>::new());
    let orders = orders(&app, 2).await;
    assert_eq!(orders, [1, 2], "ids start over");
    eventually("the orders are confirmed", async || {
        confirmed(&app.pool).await == orders
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_confirm_each_order_once() {
    let app = TestApp::start().await;
    let first = orders(&app, 40).await;
    let mut workers = [
        worker_process(&app.database_url, app.redis.url()),
        worker_process(&app.database_url, app.redis.url()),
    ];
    let mut all = first;
    for _ in 0..40 {
        all.push(app.order(1, &[(1, 1)]).await.created());
    }
    eventually("all are confirmed", async || confirmed(&app.pool).await == all).await;
    let mut output = String::new();
    for worker in &mut workers {
        worker.signal(Signal::TERM);
        worker.ends().await;
        output += &worker.output();
        output += "\n";
    }
    for order in all {
        let id = format!("order_id={order} ");
        assert_eq!(output.matches(&id).count(), 1, "{id} in\n{output}");
    }
}

#[tokio::test]
async fn outbox_rows_and_jobs_of_the_previous_version_are_confirmed() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    // A server of the previous version still places orders; its messages contain order ids.
    execute(
        &app.pool,
        "insert into store (name, location) values ('Main', 'Main Street 1');
         insert into orders (store_id, status) values (1, 'CONFIRMED'), (1, 'CONFIRMED');
         insert into outbox (order_id) values (1), (2)",
    )
    .await;
    assert_eq!(owed(&app.pool).await, [1, 2]);
    let message = serde_json::json!({ "version": 1, "order_ids": [1, 2] });
    let message: ConfirmOrders = serde_json::from_value(message).unwrap();
    queues
        .confirmations
        .push("from the past", &message)
        .await
        .unwrap();
    let worker = Worker::start(&app);
    eventually("both are confirmed", async || {
        confirmed(&app.pool).await == [1, 2] && is_idle(&queues).await
    })
    .await;
    assert_eq!(queues.confirmations.counts().await.unwrap().dead, 0);
    worker.stop().await;
}

#[tokio::test]
async fn job_of_unknown_version_is_dead_and_its_order_confirmed_anyway() {
    let app = TestApp::start().await;
    let orders = orders(&app, 1).await;
    let queues = queues(&app);
    let message = serde_json::json!({ "version": 3, "outbox_ids": [1] });
    let message: ConfirmOrders = serde_json::from_value(message).unwrap();
    queues
        .confirmations
        .push("from the future", &message)
        .await
        .unwrap();
    let worker = Worker::start(&app);
    eventually("the message is dead", async || {
        queues.confirmations.counts().await.unwrap().dead == 1
    })
    .await;
    let dead = queues
        .confirmations
        .jobs(State::Dead, 10)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((dead.id.as_str(), dead.attempts), ("from the future", 1));
    let error = dead.error.unwrap();
    assert!(error.contains("message version 3 is unknown"), "{error}");
    eventually("the order is confirmed", async || {
        confirmed(&app.pool).await == orders
    })
    .await;
    worker.stop().await;
}

/// A worker within this process.
pub struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    pub fn start(app: &TestApp) -> Self {
        Self::start_on(app, &app.redis)
    }

    pub fn start_on(app: &TestApp, redis: &RedisSettings) -> Self {
        let notifiers = Notifiers::default();
        let shutdown = CancellationToken::new();
        let (db, redis, told) = (app.pool.clone(), redis.clone(), app.order_confirmed.clone());
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { worker::run(db, &redis, 4, notifiers, told, stop).await });
        Self { shutdown, task }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A worker in a separate process.
fn worker_process(database_url: &str, redis_url: &str) -> Running {
    let mut command = afforo(&["worker"]);
    on(&mut command, database_url, redis_url);
    Running::start(&mut command)
}

fn queues(app: &TestApp) -> Queues {
    Queues::new(&app.redis).unwrap()
}

/// Whether no job waits or runs.
async fn is_idle(queues: &Queues) -> bool {
    let counts = queues.confirmations.counts().await.unwrap();
    counts
        == Counts {
            dead: counts.dead,
            ..Counts::default()
        }
}

/// Places orders of one unit in a new store and returns their ids.
async fn orders(app: &TestApp, count: usize) -> Vec<i64> {
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 1000).await;
    let mut orders = Vec::new();
    for _ in 0..count {
        orders.push(app.order(store, &[(product, 1)]).await.created());
    }
    orders
}

/// Orders that have their confirmation.
pub async fn confirmed(pool: &PgPool) -> Vec<i64> {
    ids(pool, "select order_id from order_confirmation order by order_id").await
}

/// Orders whose confirmation is due.
async fn owed(pool: &PgPool) -> Vec<i64> {
    ids(pool, "select unnest(order_ids) from outbox order by 1").await
}

async fn ids(pool: &PgPool, sql: &'static str) -> Vec<i64> {
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

async fn execute(pool: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

/// A notification without subscribers.
fn no_subscribers() -> Arc<Notify> {
    Arc::new(Notify::new())
}
