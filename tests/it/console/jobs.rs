//! `/admin/jobs/`

use afforo::worker::{PeriodicJob, Queues};
use apalis_redis_queue::{Queue, State};
use serde_json::json;

use super::{Desk, audit_log, led, message, text_of};
use crate::{
    support::{
        app::{TestApp, production},
        program::eventually,
        redis::RedisServer,
    },
    worker::Worker,
};

/// Gives up a confirmation and a delivery of an order.
async fn give_up(app: &TestApp, order: i64) -> (i64, i64) {
    let outbox = sqlx::query_scalar(
        "insert into outbox (order_ids, handouts, error, dead_at) values (array[$1], 11, '<b>poison</b>', now()) returning id",
    );
    let delivery = sqlx::query_scalar(
        "insert into delivery (order_id, channel, attempts, error, due_at, dead_at)
         values ($1, 'email', 10, 'mailbox full', null, now()) returning id",
    );
    let outbox = outbox.bind(order).fetch_one(&app.pool).await.unwrap();
    (outbox, delivery.bind(order).fetch_one(&app.pool).await.unwrap())
}

/// Makes a job of the periodic queue that no worker can read, and has one give it up.
async fn dead_job(app: &TestApp, queues: &Queues) {
    let queue: Queue<serde_json::Value> = queues.periodic.untyped();
    queue
        .push("unheard-of", &json!({ "job": "unheard_of" }))
        .await
        .unwrap();
    let worker = Worker::start(app);
    eventually("the job is dead", async || {
        queue.counts().await.unwrap().dead == 1
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn page_without_dead_letters_says_so() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    let html = desk.html("/admin/jobs/").await;
    let text = text_of(&html);
    assert!(
        text.contains("No failed jobs.") && !text.contains("Redis does not answer"),
        "{text}"
    );
    assert!(text.contains("confirm-orders 0 0 0 0 0"), "{text}");
    assert!(
        text.contains("daily-order-report 5 minutes past every hour"),
        "{text}"
    );
    for state in ["ready", "delayed", "running", "done", "dead"] {
        let html = desk.html(&format!("/admin/jobs/list/?state={state}")).await;
        assert!(html.contains("No jobs in this state."), "{state}");
    }
}

#[tokio::test]
async fn dead_letters_are_retried_one_by_one_and_all_at_once() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let (outbox, delivery) = give_up(&app, 7).await;
    let html = desk.html("/admin/jobs/").await;
    assert!(
        !html.contains("<b>poison") && html.contains("&#60;b&#62;poison"),
        "{html}"
    );
    assert!(html.contains(r#"href="/admin/orders/7/""#) && html.contains("email: mailbox full"));
    assert!(
        !html.contains("/admin/jobs/drop/") && !html.contains("/admin/jobs/run/"),
        "these are for superusers"
    );

    let letter = format!("/admin/jobs/retry/?letter=outbox%3A{outbox}");
    assert!(html.contains(&letter), "{html}");
    let listed = desk.html("/admin/jobs/list/?state=dead").await;
    assert!(
        listed.contains(&letter) && listed.contains(&format!("delivery%3A{delivery}")),
        "{listed}"
    );
    let of_queue = desk.html("/admin/jobs/list/?state=dead&queue=periodic").await;
    assert!(!of_queue.contains(&letter), "{of_queue}");
    assert_eq!(led(&desk.post(&letter, &[]).await), "/admin/jobs/");
    assert_eq!(
        message(&desk.post(&letter, &[]).await),
        "This job is no longer among the failed ones."
    );
    let html = desk.html("/admin/jobs/").await;
    assert!(!html.contains(&letter) && html.contains("mailbox full"));

    let (other, _) = give_up(&app, 8).await;
    assert_eq!(
        message(&desk.post("/admin/jobs/retry-all/", &[]).await),
        "3 jobs will be retried."
    );
    assert_eq!(
        message(&desk.post("/admin/jobs/retry-all/", &[]).await),
        "There was nothing to retry."
    );
    let due = "select count(*) from (select id from outbox where dead_at is null union all select id from delivery where dead_at is null) x";
    assert_eq!(super::count(&app, due).await, 4);
    assert_ne!((outbox, delivery), (other, 0));
    let log = audit_log(&app).await.join("\n");
    assert!(log.contains(&format!("job.retried outbox:{outbox}")), "{log}");
    assert!(log.contains(r#"job.retried - {"letters":3}"#), "{log}");

    for letter in ["", "outbox:x", ":"] {
        let answer = desk
            .post(&format!("/admin/jobs/retry/?letter={letter}"), &[])
            .await;
        assert_eq!(answer.status, 404, "{letter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_job_is_listed_retried_and_dropped() {
    let app = TestApp::start().await;
    let queues = Queues::new(&app.redis).unwrap();
    let desk = Desk::of(&app, "superuser", None).await;
    dead_job(&app, &queues).await;
    let retry = "/admin/jobs/retry/?letter=periodic%3Aunheard-of";
    let html = desk.html("/admin/jobs/").await;
    assert!(
        html.contains(retry) && html.contains(r#"/admin/jobs/list/?queue=periodic&#38;state=dead""#),
        "{html}"
    );
    let html = desk.html("/admin/jobs/list/?queue=periodic&state=dead").await;
    assert!(html.contains(retry), "{html}");
    let listed = text_of(&html);
    assert!(
        listed.contains("periodic:unheard-of") && listed.contains("1 of 10"),
        "{listed}"
    );

    assert_eq!(led(&desk.post(retry, &[]).await), "/admin/jobs/");
    let ready = queues.periodic.jobs(State::Ready, 10).await.unwrap();
    assert_eq!(ready[0].id, "unheard-of");
    dead_job(&app, &queues).await;

    let drop = "/admin/jobs/drop/?letter=periodic%3Aunheard-of";
    let asked = text_of(&desk.html(drop).await);
    assert!(
        asked.contains("Discard the job periodic:unheard-of? The job will not be done."),
        "{asked}"
    );
    assert_eq!(
        message(&desk.post(drop, &[]).await),
        "Job periodic:unheard-of discarded."
    );
    assert_eq!(queues.periodic.counts().await.unwrap().dead, 0);
    assert_eq!(
        message(&desk.post(drop, &[]).await),
        "This job is no longer among the failed ones."
    );
    assert!(
        audit_log(&app)
            .await
            .iter()
            .any(|entry| entry.contains("job.dropped periodic:unheard-of"))
    );
}

#[tokio::test]
async fn dead_outbox_row_cannot_be_dropped() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    let (outbox, delivery) = give_up(&app, 7).await;
    let drop = format!("/admin/jobs/drop/?letter=outbox%3A{outbox}");
    assert!(
        !desk.html("/admin/jobs/").await.contains(&drop),
        "it is not offered"
    );
    let asked = desk.html(&drop).await;
    assert!(asked.contains("Orders need their confirmation") && !asked.contains("Discard<"));
    assert_eq!(desk.post(&drop, &[]).await.status, 409);
    let drop = format!("/admin/jobs/drop/?letter=delivery%3A{delivery}");
    assert_eq!(led(&desk.post(&drop, &[]).await), "/admin/jobs/");
    assert_eq!(
        super::count(&app, "select count(*) from outbox where dead_at is not null").await,
        1
    );
    assert_eq!(super::count(&app, "select count(*) from delivery").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_started_by_hand_is_one_job_and_a_worker_runs_it() {
    let app = TestApp::start().await;
    let queues = Queues::new(&app.redis).unwrap();
    let desk = Desk::of(&app, "superuser", None).await;
    let run = "/admin/jobs/run/?schedule=reject-stuck-orders";
    assert!(desk.html("/admin/jobs/").await.contains(run));
    let form = [("idempotency_key", "0123")];
    for _ in 0..2 {
        assert_eq!(led(&desk.post(run, &form).await), "/admin/jobs/");
    }
    let ready = queues.periodic.jobs(State::Ready, 10).await.unwrap();
    let ids: Vec<&str> = ready.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(
        ids,
        ["reject-stuck-orders-manual-0123"],
        "the same form is one run"
    );
    let job: PeriodicJob = serde_json::from_str(ready[0].payload.as_ref().unwrap()).unwrap();
    assert_eq!(job, PeriodicJob::RejectStuckOrders);
    let listed = text_of(&desk.html("/admin/jobs/list/").await);
    assert!(
        listed.contains("periodic:reject-stuck-orders-manual-0123") && listed.contains("0 of 10"),
        "{listed}"
    );

    let last = async || {
        let text = text_of(&desk.html("/admin/jobs/").await);
        let plan = text.split("reject-stuck-orders every minute").nth(1).unwrap();
        plan.split("Run now").next().unwrap().to_owned()
    };
    assert!(last().await.contains("Ready"), "{}", last().await);

    let worker = Worker::start(&app);
    let id = "reject-stuck-orders-manual-0123".to_owned();
    eventually("it is done", async || {
        let known = queues.periodic.known(std::slice::from_ref(&id)).await.unwrap();
        known.get(&id) == Some(&State::Done)
    })
    .await;
    eventually("the page says so", async || last().await.contains("Done")).await;
    worker.stop().await;
    assert!(desk.html("/admin/jobs/list/?state=done").await.contains(&id));
    let log = audit_log(&app).await.join("\n");
    let entry = r#"schedule.run schedule:reject-stuck-orders {"job":"reject-stuck-orders-manual-0123"}"#;
    assert!(log.contains(entry), "{log}");
    assert_eq!(
        desk.post("/admin/jobs/run/?schedule=nothing", &form).await.status,
        404
    );
}

#[tokio::test]
async fn account_bound_to_stores_sees_dead_letters_of_its_orders_only() {
    let app = TestApp::start().await;
    let (north, south) = (app.store("North").await, app.store("South").await);
    let saw = app.product("Saw", "5.00").await;
    let mut orders = Vec::new();
    for store in [north, south] {
        app.stock(store, saw, 100).await;
        orders.push(app.order(store, &[(saw, 1)]).await.created());
    }
    let (theirs, _) = give_up(&app, orders[0]).await;
    let (both,): (i64,) = sqlx::query_as(
        "insert into outbox (order_ids, handouts, error, dead_at) values ($1, 11, 'both', now()) returning id",
    )
    .bind(&orders)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let desk = Desk::of(&app, "staff", Some(&[south])).await;
    let html = desk.html("/admin/jobs/").await;
    assert!(
        html.contains(&format!("/admin/orders/{}/", orders[1]))
            && !html.contains(&format!("/admin/orders/{}/", orders[0]))
    );
    assert!(
        !html.contains("mailbox full") && !html.contains("retry-all") && !html.contains("/admin/jobs/list/")
    );
    let retry = |letter| format!("/admin/jobs/retry/?letter=outbox%3A{letter}");
    assert_eq!(desk.post(&retry(theirs), &[]).await.status, 404);
    assert_eq!(
        desk.post("/admin/jobs/retry/?letter=periodic%3Ax", &[])
            .await
            .status,
        404
    );
    assert_eq!(desk.post("/admin/jobs/retry-all/", &[]).await.status, 403);
    assert_eq!(desk.get("/admin/jobs/list/").await.status, 403);
    assert_eq!(led(&desk.post(&retry(both), &[]).await), "/admin/jobs/");
    let dead = "select count(*) from outbox where dead_at is not null";
    assert_eq!(super::count(&app, dead).await, 1);
}

#[tokio::test]
async fn job_actions_need_the_right_role() {
    let app = TestApp::start().await;
    let (outbox, _) = give_up(&app, 7).await;
    let viewer = Desk::of(&app, "viewer", None).await;
    let html = viewer.html("/admin/jobs/").await;
    assert!(html.contains("mailbox full") && !html.contains("Retry<") && !html.contains("Run now"));
    let staff = Desk::of(&app, "staff", None).await;
    let retry = format!("/admin/jobs/retry/?letter=outbox%3A{outbox}");
    let drop = format!("/admin/jobs/drop/?letter=outbox%3A{outbox}");
    let run = "/admin/jobs/run/?schedule=clean-up-outbox";
    for path in [&retry, "/admin/jobs/retry-all/", &drop, run] {
        assert_eq!(viewer.post(path, &[]).await.status, 403, "{path}");
    }
    for path in [&drop, run] {
        assert_eq!(staff.post(path, &[]).await.status, 403, "{path}");
    }
    assert_eq!(staff.get(&drop).await.status, 403);
    let counts = Queues::new(&app.redis).unwrap().periodic.counts().await.unwrap();
    assert_eq!(
        (
            counts.ready,
            super::count(&app, "select count(*) from outbox where dead_at is not null").await
        ),
        (0, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_without_redis_shows_the_dead_letters_of_the_database() {
    let redis = RedisServer::start();
    let app = TestApp::start_with_redis(&redis.url(0), production(), afforo::server::Limits::default()).await;
    let desk = Desk::of(&app, "superuser", None).await;
    give_up(&app, 7).await;
    let whole = desk.html("/admin/jobs/").await;
    assert!(!whole.contains("Redis does not answer"));
    redis.pause();
    let html = desk.html("/admin/jobs/").await;
    let text = text_of(&html);
    assert!(
        text.contains("Redis does not answer.") && text.contains("mailbox full"),
        "{text}"
    );
    assert!(text.contains("clean-up-outbox every 10 minutes"), "{text}");
    let failed = text_of(&desk.html("/admin/jobs/list/?state=delayed").await);
    assert!(
        failed.contains("Redis does not answer. Its jobs are not listed."),
        "{failed}"
    );
    let run = desk.post("/admin/jobs/run/?schedule=clean-up-outbox", &[]).await;
    assert_eq!(run.status, 503);
    assert!(text_of(&run.text).contains("Redis did not answer"));
    assert_eq!(
        message(&desk.post("/admin/jobs/retry-all/", &[]).await),
        "2 jobs in PostgreSQL will be retried. Redis did not answer: its failed jobs may be unchanged."
    );
    assert_eq!(
        super::count(&app, "select count(*) from outbox where dead_at is not null").await,
        0
    );
    redis.resume();
    eventually("the page is whole again", async || {
        !desk.html("/admin/jobs/").await.contains("Redis does not answer")
    })
    .await;
}

#[tokio::test]
async fn failed_attempts_in_the_database_are_listed_with_the_next_try() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    sqlx::raw_sql(
        "insert into delivery (order_id, channel, attempts, error, due_at) values (3, 'webhook', 2, 'refused: 500', now() + interval '40 s');
         insert into delivery (order_id, channel) values (4, 'webhook');
         insert into outbox (order_ids, handouts, error) values (array[5, 6], 2, 'locked')",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let text = text_of(&desk.html("/admin/jobs/list/?state=delayed").await);
    assert!(
        text.contains("order 3 2 webhook: refused: 500") && text.contains("order 5 and 1 more 2 locked"),
        "{text}"
    );
    assert!(!text.contains("order 4"), "{text}");
    let text = text_of(&desk.html("/admin/jobs/").await);
    assert!(
        text.contains("Confirmations pending 1") && text.contains("Webhooks pending 2"),
        "{text}"
    );
}
