//! The relay, step by step.

use std::time::Duration;

use afforo::{
    outbox,
    worker::{Relay, Relayed},
};
use tokio_util::sync::CancellationToken;

use super::{confirmed, execute, nobody, orders, owed, queues};
use crate::support::{app::TestApp, program::eventually};

#[tokio::test]
async fn a_step_takes_what_is_due_and_only_once() {
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
async fn more_rows_than_a_job_settles_take_several_steps() {
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
async fn what_was_claimed_is_given_out_again_after_its_lease_and_not_before() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    orders(&app, 2).await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
    execute(&app.pool, "update outbox set due_at = due_at - interval '50 s'").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Nothing);
    execute(&app.pool, "update outbox set due_at = due_at - interval '10 s'").await;
    assert_eq!(relay.step().await.unwrap(), Relayed::Orders(2));
    let attempts: Vec<i32> = sqlx::query_scalar("select attempts from outbox")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(attempts, [2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_relays_at_once_are_given_each_row_once() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids) select array[n] from generate_series(1, 500) n",
    )
    .await;
    let claims = futures::future::join_all((0..10).map(|_| async {
        let mut claimed = Vec::new();
        loop {
            let claim = outbox::claim(&app.pool, 20, Duration::from_mins(1))
                .await
                .unwrap();
            let rows = claim.outbox_ids;
            if rows.is_empty() {
                return claimed;
            }
            assert!(rows.is_sorted());
            claimed.extend(rows);
        }
    }));
    let mut claimed = claims.await.concat();
    claimed.sort_unstable();
    // A relay that finds all rows locked by others stops early; none is left for all of them, though.
    claimed.extend(
        outbox::claim(&app.pool, 500, Duration::from_mins(1))
            .await
            .unwrap()
            .outbox_ids,
    );
    claimed.sort_unstable();
    assert_eq!(claimed, (1..=500).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_relay_that_runs_hands_on_what_comes_whether_it_is_told_or_not() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { relay.run(&nobody(), &stop).await });
    orders(&app, 2).await;
    eventually("both are claimed", async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox where attempts = 0")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        waiting == 0 && queues.confirmations.counts().await.unwrap().ready >= 1
    })
    .await;
    shutdown.cancel();
    running.await.unwrap();
}
