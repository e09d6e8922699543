//! Faults between a confirmation and its receiver.

use std::{collections::BTreeSet, sync::Arc};

use afforo::{
    delivery::{self, Channel, Deliver},
    worker::{DeliveryRelay, PeriodicJob, Queues},
};
use rustix::process::Signal;
use tokio::sync::Semaphore;

use super::{
    SECRET, Worker, all_delivered, deliveries,
    http_receiver::{Answer, HttpReceiver},
    orders, times, webhook,
};
use crate::support::{
    app::TestApp,
    program::{Running, afforo, eventually, on},
};

fn deliver(delivery_id: i64, attempts: i32) -> Deliver {
    Deliver {
        delivery_id,
        attempts,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_of_a_killed_worker_is_sent_again_under_the_same_id() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![Answer::Hang, Answer::Status(500, String::new())]).await;
    let start = || {
        let mut command = afforo(&["worker"]);
        on(&mut command, &app.database_url, app.redis.url());
        command
            .env("WEBHOOK_URL", format!("http://{}/hunter2", receiver.address))
            .env("WEBHOOK_SECRET", SECRET)
            .env("RUST_LOG", "debug");
        Running::start(&mut command)
    };
    let mut killed = start();
    let order = orders(&app, 1).await[0];
    eventually("the delivery is being sent", async || {
        receiver.requests().len() == 1
    })
    .await;
    killed.signal(Signal::KILL);
    killed.ends().await;
    assert_eq!(deliveries(&app.pool).await, [(order, 1, "waiting".to_owned())]);

    let mut worker = start();
    worker.says("worker started").await;
    assert_eq!(receiver.requests().len(), 1, "its lease holds");
    let due = "update delivery set due_at = now() where due_at is not null";
    sqlx::query(due).execute(&app.pool).await.unwrap();
    eventually("the delivery is refused", async || receiver.requests().len() == 2).await;
    worker.says("confirmation not delivered; retrying later").await;
    eventually("the confirmation is delivered", async || {
        sqlx::query(due).execute(&app.pool).await.unwrap();
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.says("confirmation delivered").await;
    worker.signal(Signal::TERM);
    worker.ends().await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.id() == requests[0].id()));
    for output in [killed.output(), worker.output()] {
        assert!(
            !output.contains("hunter2") && !output.contains(SECRET),
            "{output}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_webhook_is_recorded_later_if_the_database_refuses_at_first() {
    let app = TestApp::start().await;
    let permits = Arc::new(Semaphore::new(0));
    let receiver = HttpReceiver::start(vec![Answer::When(permits.clone())]).await;
    let worker = Worker::start(&app, None, Some(webhook(&receiver)));
    let order = orders(&app, 1).await[0];
    eventually("the delivery is being sent", async || {
        receiver.requests().len() == 1
    })
    .await;
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin
             perform nextval('refusals'); raise exception 'not now'; end $$;
         create sequence refusals;
         create trigger refuse before update on delivery
         for each row when (new.delivered_at is not null) execute function refuse()";
    sqlx::raw_sql(refuse).execute(&app.pool).await.unwrap();
    permits.add_permits(1);
    eventually("the delivery is refused", async || {
        let refused = sqlx::query_scalar::<_, bool>("select is_called from refusals");
        refused.fetch_one(&app.pool).await.unwrap()
    })
    .await;
    assert_eq!(deliveries(&app.pool).await, [(order, 1, "waiting".to_owned())]);
    sqlx::raw_sql("drop trigger refuse on delivery")
        .execute(&app.pool)
        .await
        .unwrap();
    eventually("the delivery is recorded", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.stop().await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_send_no_webhook_twice() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![]).await;
    let workers = [(); 2].map(|()| Worker::start(&app, None, Some(webhook(&receiver))));
    let orders = orders(&app, 60).await;
    eventually("all are delivered", async || {
        all_delivered(&app.pool, orders.len()).await
    })
    .await;
    for worker in workers {
        worker.stop().await;
    }
    let requests = receiver.requests();
    let ids: BTreeSet<&str> = requests.iter().map(super::http_receiver::Request::id).collect();
    assert_eq!((requests.len(), ids.len()), (60, 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_lost_by_redis_is_queued_again_and_a_late_job_sends_nothing() {
    let app = TestApp::start().await;
    let receiver = HttpReceiver::start(vec![Answer::Status(503, "Retry-After: 3600\r\n".to_owned())]).await;
    let order = orders(&app, 1).await[0];
    // The order is confirmed and its delivery is due.
    let none = Worker::start(&app, None, None);
    eventually("the order is confirmed", async || {
        let confirmed = sqlx::query_scalar::<_, i64>("select count(*) from order_confirmation");
        confirmed.fetch_one(&app.pool).await.unwrap() == 1
    })
    .await;
    none.stop().await;
    assert_eq!(deliveries(&app.pool).await, [], "no delivery is configured");
    sqlx::query("insert into delivery (order_id, channel) values ($1, 'webhook')")
        .bind(order)
        .execute(&app.pool)
        .await
        .unwrap();
    let queues = Queues::new(&app.redis).unwrap();
    let relay = DeliveryRelay {
        db: app.pool.clone(),
        queue: queues.webhooks.clone(),
        channel: Channel::Webhook,
        lease: times().queued,
    };
    assert_eq!(relay.step().await.unwrap(), 1);
    assert_eq!(relay.step().await.unwrap(), 0);
    let client = redis::Client::open(app.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHDB").exec_async(&mut connection).await.unwrap();
    let worker = Worker::start(&app, None, Some(webhook(&receiver)));
    assert_eq!(relay.step().await.unwrap(), 0, "the lease holds");
    let due = "update delivery set due_at = now()";
    sqlx::query(due).execute(&app.pool).await.unwrap();
    eventually("the delivery is refused and waits", async || {
        deliveries(&app.pool).await == [(order, 1, "waiting".to_owned())] && receiver.requests().len() == 1
    })
    .await;

    // A repeated job of the first hand-out, and one of a delivery that is deleted.
    for (id, job) in [("late", deliver(1, 0)), ("lost", deliver(99, 0))] {
        queues.webhooks.push(id, &job).await.unwrap();
    }
    eventually("the jobs are done", async || {
        let counts = queues.webhooks.counts().await.unwrap();
        counts == apalis_redis_queue::Counts::default()
    })
    .await;
    assert_eq!(receiver.requests().len(), 1);
    sqlx::query(due).execute(&app.pool).await.unwrap();
    eventually("the confirmation is delivered", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.stop().await;
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn delivery_job_begins_once_and_on_its_channel_only() {
    let app = TestApp::start().await;
    sqlx::query("insert into delivery (order_id, channel) values (7, 'webhook')")
        .execute(&app.pool)
        .await
        .unwrap();
    let times = times();
    let job = delivery::claim(&app.pool, Channel::Webhook, 5, times.queued)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        delivery::claim(&app.pool, Channel::Webhook, 5, times.queued)
            .await
            .unwrap(),
        []
    );
    let try_to_begin = async |channel| {
        delivery::begin(&app.pool, &job, channel, times.sending)
            .await
            .unwrap()
    };
    assert!(try_to_begin(Channel::Email).await.is_none());
    let begun = try_to_begin(Channel::Webhook).await.unwrap();
    assert_eq!((begun.order_id, begun.attempt), (7, 1));
    assert!(try_to_begin(Channel::Webhook).await.is_none());
    let claim = async || {
        delivery::claim(&app.pool, Channel::Webhook, 5, times.queued)
            .await
            .unwrap()
    };
    // The queue took the job, but its response was lost. The delivery is not handed out again while it is sent or pauses.
    delivery::release(&app.pool, std::slice::from_ref(&job))
        .await
        .unwrap();
    assert_eq!(claim().await, []);
    let pause = Some(times.backoff.longest);
    delivery::failed(&app.pool, 1, 1, "not now", pause).await.unwrap();
    delivery::release(&app.pool, &[job]).await.unwrap();
    assert_eq!(claim().await, []);
    // A delivery that is released before it starts costs no attempt.
    sqlx::query("update delivery set due_at = now()")
        .execute(&app.pool)
        .await
        .unwrap();
    let again = claim().await;
    assert_eq!(again, [deliver(1, 1)]);
    delivery::release(&app.pool, &again).await.unwrap();
    assert_eq!(claim().await, again);
    delivery::delivered(&app.pool, 1).await.unwrap();
    // A late failure changes nothing.
    delivery::failed(&app.pool, 1, 1, "too late", None).await.unwrap();
    assert_eq!(deliveries(&app.pool).await, [(7, 1, "delivered".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_completed_over_30_days_ago_are_removed_and_no_others() {
    let app = TestApp::start().await;
    sqlx::raw_sql(
        "insert into delivery (order_id, channel, due_at, delivered_at)
         select n, 'email', null, now() - interval '31 days' from generate_series(1, 6000) n;
         insert into delivery (order_id, channel, due_at, delivered_at) values (7001, 'email', null, now() - interval '29 days');
         insert into delivery (order_id, channel, due_at, dead_at) values (7002, 'email', null, now() - interval '1 year');
         insert into delivery (order_id, channel, due_at, created_at) values (7003, 'email', now(), now() - interval '1 year')",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let worker = Worker::start(&app, None, None);
    let queues = Queues::new(&app.redis).unwrap();
    queues
        .periodic
        .push("purge", &PeriodicJob::PurgeDeliveries)
        .await
        .unwrap();
    eventually("the deliveries are deleted", async || {
        let left: Vec<i64> = deliveries(&app.pool)
            .await
            .into_iter()
            .map(|delivery| delivery.0)
            .collect();
        left == [7001, 7002, 7003]
    })
    .await;
    worker.stop().await;
}
