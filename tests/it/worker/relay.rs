//! Single steps of the relay.

use std::time::Duration;

use afforo::{
    outbox::{self, ConfirmOrders, Which},
    worker::{Relay, Relayed},
};
use tokio_util::sync::CancellationToken;

use super::{confirmed, execute, no_subscribers, orders, owed, queues};
use crate::support::{app::TestApp, program::eventually};

#[tokio::test]
async fn step_claims_due_rows_once() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    assert_eq!(relay.step().await.unwrap(), Relayed::Nothing);
    let orders = orders(&app, 3).await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(3));
    assert_eq!(relay.step().await.unwrap(), Relayed::Nothing);
    assert_eq!(queues.confirmations.counts().await.unwrap().ready, 1);
    assert_eq!(
        owed(&app.pool).await,
        orders,
        "a row stays until its confirmation"
    );
    assert_eq!(confirmed(&app.pool).await, Vec::<i64>::new());
}

#[tokio::test]
async fn more_rows_than_fit_into_one_job_take_several_steps() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids) select array[n, -n] from generate_series(1, 450) n",
    )
    .await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    for expected in [
        Relayed::Full(400),
        Relayed::Full(400),
        Relayed::Orders(100),
        Relayed::Nothing,
    ] {
        assert_eq!(relay.step().await.unwrap(), expected);
    }
    assert_eq!(queues.confirmations.counts().await.unwrap().ready, 3);
}

#[tokio::test]
async fn claimed_rows_are_claimed_again_only_after_their_lease() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    orders(&app, 2).await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
    flush(&app).await;
    later(&app, "50 s").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Nothing);
    later(&app, "10 s").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
    assert_eq!(handouts(&app).await, [2, 2]);
    assert_eq!(queues.confirmations.counts().await.unwrap().ready, 1);
}

#[tokio::test]
async fn rows_queued_before_are_not_claimed_again_while_new_ones_are() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    orders(&app, 1).await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(1));
    later(&app, "1 h").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Nothing, "its job waits");
    execute(&app.pool, "insert into outbox (order_ids) values ('{7, 8}')").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
    assert_eq!(handouts(&app).await, [1, 1]);
}

#[tokio::test]
async fn full_queue_receives_no_more_jobs() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    let ids: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let nothing = ConfirmOrders::new(vec![]);
    let jobs: Vec<_> = ids.iter().map(|id| (id.as_str(), &nothing)).collect();
    queues.confirmations.push_many(&jobs).await.unwrap();
    orders(&app, 1).await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Backlog);
    assert_eq!(handouts(&app).await, [0]);
}

#[tokio::test]
async fn row_claimed_twice_without_success_gets_its_own_job() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    orders(&app, 5).await;
    execute(&app.pool, "update outbox set handouts = 2 where id in (2, 4)").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(5));
    assert_eq!(queues.confirmations.counts().await.unwrap().ready, 3);
}

async fn flush(app: &TestApp) {
    let client = redis::Client::open(app.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHDB").exec_async(&mut connection).await.unwrap();
}

/// Moves the due times of outbox rows back, as if `time` had passed.
async fn later(app: &TestApp, time: &str) {
    sqlx::query("update outbox set due_at = due_at - $1::text::interval")
        .bind(time)
        .execute(&app.pool)
        .await
        .unwrap();
}

async fn handouts(app: &TestApp) -> Vec<i32> {
    let handouts = sqlx::query_scalar("select handouts from outbox order by id");
    handouts.fetch_all(&app.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_relays_claim_each_row_once() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids) select array[n] from generate_series(1, 500) n",
    )
    .await;
    let claims = futures::future::join_all((0..10).map(|_| async {
        let mut claimed = Vec::new();
        loop {
            let rows = claimed_rows(&app, 20).await;
            if rows.is_empty() {
                return claimed;
            }
            assert!(rows.is_sorted());
            claimed.extend(rows);
        }
    }));
    let mut claimed = claims.await.concat();
    claimed.sort_unstable();
    // A relay that finds all rows locked by others stops early, but together they leave no row.
    claimed.extend(claimed_rows(&app, 500).await);
    claimed.sort_unstable();
    assert_eq!(claimed, (1..=500).collect::<Vec<i64>>());
}

async fn claimed_rows(app: &TestApp, limit: i64) -> Vec<i64> {
    let claim = outbox::claim(&app.pool, Which::All, limit, Duration::from_mins(1)).await;
    claim.unwrap().rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn running_relay_queues_new_rows_without_a_notification() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { relay.run(&no_subscribers(), &stop).await });
    orders(&app, 2).await;
    eventually("both are claimed", async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox where handouts = 0")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        waiting == 0 && queues.confirmations.counts().await.unwrap().ready >= 1
    })
    .await;
    shutdown.cancel();
    running.await.unwrap();
}
