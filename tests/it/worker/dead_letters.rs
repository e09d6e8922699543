//! Dead letters, and `afforo jobs`.

use std::time::Duration;

use afforo::{
    outbox::{self, ConfirmOrders, MAX_ATTEMPTS},
    worker::{PeriodicJob, Relay, Relayed, dead_letters},
};
use apalis_redis_queue::Pushed;
use serde_json::Value;

use super::{Worker, confirmed, execute, ids, is_idle, orders, owed, queues};
use crate::support::{
    app::TestApp,
    program::{Output, afforo, eventually, on, run},
    redis::RedisServer,
};

/// Refuses the confirmation of one order, as a bug would.
const POISON: &str = "create function refuse() returns trigger language plpgsql as
     $$ begin raise exception 'order % is poison', new.order_id; end $$;
     create trigger poison before insert on order_confirmation
     for each row when (new.order_id = 3) execute function refuse()";

async fn jobs(app: &TestApp, args: &[&str]) -> Output {
    jobs_on(app, app.redis.url(), args).await
}

async fn jobs_on(app: &TestApp, redis_url: &str, args: &[&str]) -> Output {
    let mut command = afforo(&[&["jobs"], args].concat());
    on(&mut command, &app.database_url, redis_url);
    run(&mut command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_outbox_row_becomes_a_dead_letter_and_others_are_confirmed() {
    let app = TestApp::start().await;
    let orders = orders(&app, 5).await;
    execute(&app.pool, POISON).await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    eventually("the others are confirmed", async || {
        confirmed(&app.pool).await == [1, 2, 4, 5]
    })
    .await;
    assert_eq!(owed(&app.pool).await, [3]);

    // Its leases expire one after the other. The relay pushes the job ten times again.
    eventually("the outbox row is dead", async || {
        execute(
            &app.pool,
            "update outbox set due_at = now() where due_at > now() and dead_at is null",
        )
        .await;
        !ids(&app.pool, "select id from outbox where dead_at is not null")
            .await
            .is_empty()
    })
    .await;
    eventually("no job is left", async || is_idle(&queues).await).await;
    assert_eq!(
        queues.confirmations.counts().await.unwrap().dead,
        0,
        "the dead row replaces a dead job"
    );
    let dead = outbox::dead(&app.pool, 10).await.unwrap().remove(0);
    assert_eq!(
        (dead.order_ids.as_slice(), dead.attempts),
        (&[3][..], MAX_ATTEMPTS)
    );

    let output = jobs(&app, &["dead"]).await;
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""));
    for part in [
        format!("outbox:{}", dead.id),
        "orders [3]".to_owned(),
        "order 3 is poison".to_owned(),
    ] {
        assert!(output.out.contains(&part), "{part} is not in {}", output.out);
    }
    let output = jobs(&app, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(
        (&status["outbox"]["rows"], &status["outbox"]["dead"]),
        (&0.into(), &1.into())
    );

    // The bug is fixed.
    execute(&app.pool, "drop trigger poison on order_confirmation").await;
    let output = jobs(&app, &["retry", &format!("outbox:{}", dead.id)]).await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    eventually("all are confirmed", async || confirmed(&app.pool).await == orders).await;
    assert_eq!(jobs(&app, &["dead"]).await.out, "no dead letters\n");
    worker.stop().await;
}

#[tokio::test]
async fn outbox_row_is_dead_after_eleven_attempts() {
    let app = TestApp::start().await;
    let redis = RedisServer::start();
    let queues = afforo::worker::Queues::new(&super::faults::settings(&redis)).unwrap();
    let relay = Relay::new(app.pool.clone(), queues.confirmations.clone());
    orders(&app, 1).await;
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(relay.step().await.unwrap(), Relayed::Orders(1));
        assert_eq!(relay.step().await.unwrap(), Relayed::Nothing);
        // Redis loses the job each time.
        redis.restart();
        eventually("redis is back", async || {
            queues.confirmations.counts().await.is_ok()
        })
        .await;
        execute(&app.pool, "update outbox set due_at = now()").await;
    }
    let claim = async || {
        let claim = outbox::claim(&app.pool, outbox::Which::All, 10, Duration::from_mins(1)).await;
        claim.unwrap()
    };
    let last = claim().await;
    assert_eq!((last.rows.len(), last.dead), (0, vec![1]));
    execute(&app.pool, "update outbox set due_at = now()").await;
    assert_eq!(claim().await, outbox::Claim::default());
}

#[tokio::test]
async fn dead_queue_jobs_are_listed_and_retried() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    // An unknown job is dead at once.
    let unknown = queues
        .all()
        .into_iter()
        .find(|queue| queue.name() == "periodic")
        .unwrap();
    let pushed = unknown
        .push("odd job", &serde_json::json!({ "job": "unknown" }))
        .await;
    assert_eq!(pushed.unwrap(), Pushed::Queued);
    let worker = Worker::start(&app);
    eventually("Redis is down", async || {
        queues.periodic.counts().await.unwrap().dead == 1
    })
    .await;
    worker.stop().await;

    let listed: Value = serde_json::from_str(&jobs(&app, &["dead", "--json"]).await.out).unwrap();
    assert_eq!(listed[0]["id"], "periodic:odd job");
    assert_eq!(listed[0]["attempts"], 1);
    assert!(!listed[0]["error"].as_str().unwrap().is_empty());
    let output = jobs(
        &app,
        &[
            "retry",
            "periodic:odd job",
            "periodic:another",
            "elsewhere:1",
            "outbox:1",
        ],
    )
    .await;
    assert_eq!(output.code, Some(1));
    assert_eq!(
        output.out,
        "retried: periodic:odd job\nno dead letter: periodic:another\nno dead letter: elsewhere:1\nno dead letter: outbox:1\n"
    );
    let counts = queues.periodic.counts().await.unwrap();
    assert_eq!((counts.ready, counts.dead), (1, 0));
    assert_eq!(
        queues
            .periodic
            .push("odd job", &PeriodicJob::CleanUpOutbox)
            .await
            .unwrap(),
        Pushed::AlreadyKnown
    );
}

#[tokio::test]
async fn dead_deliveries_and_jobs_can_be_dropped_and_outbox_rows_cannot() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids, dead_at) values ('{1}', now());
         insert into delivery (order_id, channel, due_at, dead_at)
         values (1, 'email', null, now()), (2, 'email', now(), null)",
    )
    .await;
    let queues = queues(&app);
    let unknown = serde_json::from_value::<ConfirmOrders>(serde_json::json!({ "version": 9 })).unwrap();
    queues.confirmations.push("unknown", &unknown).await.unwrap();
    let worker = Worker::start(&app);
    eventually("Redis is down", async || {
        queues.confirmations.counts().await.unwrap().dead == 1
    })
    .await;
    worker.stop().await;
    let output = jobs(&app, &["drop", "delivery:1", "confirm-orders:unknown"]).await;
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), "dropped: delivery:1\ndropped: confirm-orders:unknown\n")
    );
    let output = jobs(
        &app,
        &["drop", "delivery:1", "delivery:2", "outbox:1", "elsewhere:1"],
    )
    .await;
    assert_eq!(output.code, Some(1));
    let lines: Vec<&str> = output.out.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(
        lines[..2],
        ["no dead letter: delivery:1", "no dead letter: delivery:2"]
    );
    assert!(
        lines[2].starts_with("kept: outbox:1 has orders without a confirmation"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "no dead letter: elsewhere:1");
    assert_eq!(queues.confirmations.counts().await.unwrap().dead, 0);
    assert_eq!(owed(&app.pool).await, [1]);
    assert_eq!(ids(&app.pool, "select id from delivery").await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_die_again_during_retry_all_are_retried_once() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    let unknown = serde_json::from_value::<ConfirmOrders>(serde_json::json!({ "version": 9 })).unwrap();
    let jobs: Vec<String> = (0..1_500).map(|job| job.to_string()).collect();
    let pushes: Vec<_> = jobs.iter().map(|id| (id.as_str(), &unknown)).collect();
    queues.confirmations.push_many(&pushes).await.unwrap();
    let worker = Worker::start(&app);
    let dead = async || queues.confirmations.counts().await.unwrap().dead == 1_500;
    eventually("all are dead", dead).await;
    assert_eq!(dead_letters::retry_queues(&queues).await.unwrap(), 1_500);
    eventually("all are dead again", dead).await;
    worker.stop().await;
}

#[tokio::test]
async fn without_redis_dead_letters_of_postgresql_are_listed_and_retried() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids, handouts, dead_at) values ('{1}', 11, now()), ('{2}', 11, now());
         insert into delivery (order_id, channel, due_at, dead_at, error) values (4, 'webhook', null, now(), 'the receiver answered 410')",
    )
    .await;
    let redis = RedisServer::start();
    redis.kill();
    let output = jobs_on(&app, &redis.url(0), &["dead"]).await;
    assert_eq!(
        (output.code, output.out.lines().count()),
        (Some(3), 3),
        "{}",
        output.out
    );
    assert!(
        output.out.contains("webhook: the receiver answered 410"),
        "{}",
        output.out
    );
    assert!(
        output.err.contains("the queues could not be asked"),
        "{}",
        output.err
    );
    let output = jobs_on(&app, &redis.url(0), &["status"]).await;
    assert_eq!(output.code, Some(3));
    assert_eq!(
        output.out,
        "outbox: 0 rows, the oldest 0 s old, 2 dead\ndeliveries by webhook: 0 waiting, 1 dead\n"
    );
    let output = jobs_on(&app, &redis.url(0), &["drop", "periodic:1", "outbox:1"]).await;
    assert_eq!(output.code, Some(1), "{}", output.err);
    let output = jobs_on(&app, &redis.url(0), &["drop", "periodic:1"]).await;
    assert_eq!((output.code, output.out.as_str()), (Some(3), ""));
    let output = jobs_on(&app, &redis.url(0), &["retry", "--all"]).await;
    assert_eq!((output.code, output.out.as_str()), (Some(3), "retried: 3\n"));
    assert_eq!(owed(&app.pool).await, [1, 2]);
    let due = "select id from outbox where dead_at is null and handouts = 0 and due_at <= now()";
    assert_eq!(ids(&app.pool, due).await.len(), 2);
}

#[tokio::test]
async fn invalid_job_id_is_rejected_with_exit_code_2() {
    let app = TestApp::start().await;
    for args in [
        &["retry"][..],
        &["retry", "12"],
        &["retry", "outbox:first"],
        &["retry", "--all", "outbox:1"],
        &["drop"],
        &["drop", "delivery:last"],
    ] {
        assert_eq!(jobs(&app, args).await.code, Some(2), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_of_50000_orders_is_confirmed() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into store (name, location) values ('Main', 'Street');
         insert into orders (store_id, status) select 1, 'CONFIRMED' from generate_series(1, 50000);
         insert into outbox (order_ids) select array[n] from generate_series(1, 50000) n",
    )
    .await;
    let worker = Worker::start(&app);
    eventually("all are confirmed", async || {
        let confirmed = sqlx::query_scalar::<_, i64>("select count(*) from order_confirmation");
        confirmed.fetch_one(&app.pool).await.unwrap() == 50_000 && owed(&app.pool).await.is_empty()
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_stale_redis_jobs_are_processed() {
    let app = TestApp::start().await;
    let queues = queues(&app);
    // The outbox rows of these jobs no longer exist, except for one in a hundred.
    execute(
        &app.pool,
        "insert into store (name, location) values ('Main', 'Street');
         insert into orders (store_id, status) select 1, 'CONFIRMED' from generate_series(1, 50);
         insert into outbox (id, order_ids, due_at) overriding system value
         select n * 100, array[n], now() + interval '1 h' from generate_series(1, 50) n",
    )
    .await;
    let jobs: Vec<(String, ConfirmOrders)> = (1..=5_000)
        .map(|row| (row.to_string(), ConfirmOrders::new(vec![row])))
        .collect();
    let pushes: Vec<_> = jobs.iter().map(|(id, job)| (id.as_str(), job)).collect();
    queues.confirmations.push_many(&pushes).await.unwrap();
    let worker = Worker::start(&app);
    eventually("the queue is empty", async || is_idle(&queues).await).await;
    assert_eq!(confirmed(&app.pool).await, (1..=50).collect::<Vec<i64>>());
    assert_eq!(queues.confirmations.counts().await.unwrap().dead, 0);
    worker.stop().await;
}
