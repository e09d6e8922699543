//! The guarantees of a push to producers.

use std::time::{Duration, Instant};

use apalis_redis_queue::{Counts, JobContext, Pushed, QueueConfig};
use devstack::Redis;
use tokio::sync::mpsc::unbounded_channel;

use super::{Job, config, gate, gated_by, next, queue, tell, until, until_counts, until_subscribed, worker};

#[tokio::test]
async fn pushed_job_runs_with_its_payload_and_leaves_no_keys() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, move |job: Job, context| {
        ran.send((job, context)).unwrap();
        async { Ok(()) }
    });

    assert_eq!(
        queue.push("order:7", &Job { n: 7 }).await.unwrap(),
        Pushed::Queued
    );

    let (job, context) = next(&mut runs).await;
    assert_eq!(job, Job { n: 7 });
    let expected = JobContext {
        task_id: "order:7".into(),
        attempt: 1,
        max_attempts: 3,
    };
    assert_eq!(context, expected);
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn push_wakes_an_idle_worker() {
    let server = Redis::throwaway().unwrap();
    let never = Duration::from_mins(10);
    let config = QueueConfig {
        poll: never,
        heartbeat: never,
        lease: 2 * never,
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 4, tell(ran));
    until_subscribed(&server).await;

    for id in ["a", "b", "c"] {
        queue.push(id, &Job { n: 0 }).await.unwrap();
        assert_eq!(next(&mut runs).await.task_id, id);
    }
}

#[tokio::test]
async fn id_is_queued_once_while_its_job_waits_runs_or_is_kept_as_done() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let push = async || queue.push("order:7", &Job { n: 7 }).await.unwrap();
    assert_eq!(push().await, Pushed::Queued);
    assert_eq!(push().await, Pushed::AlreadyKnown);

    let (gate, gated) = gate();
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, gated_by(gated, tell(ran)));
    next(&mut runs).await;
    assert_eq!(push().await, Pushed::AlreadyKnown);

    gate.add_permits(1);
    until_counts(&queue, Counts::default()).await;
    assert_eq!(push().await, Pushed::AlreadyKnown);
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
}

#[tokio::test]
async fn id_of_a_done_job_can_be_pushed_again_after_keep_done() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        keep_done: Duration::from_millis(50),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 4, tell(ran));

    queue.push("order:7", &Job { n: 7 }).await.unwrap();
    next(&mut runs).await;
    until(async || queue.push("order:7", &Job { n: 7 }).await.unwrap() == Pushed::Queued).await;
    assert_eq!(next(&mut runs).await.attempt, 1);
}

#[tokio::test]
async fn push_many_reports_an_outcome_for_each_job() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    queue.push("b", &Job { n: 0 }).await.unwrap();
    let job = Job { n: 0 };
    let pushed = queue
        .push_many(&[("a", &job), ("b", &job), ("a", &job), ("c", &job)])
        .await
        .unwrap();
    let (queued, known) = (Pushed::Queued, Pushed::AlreadyKnown);
    assert_eq!(pushed, [queued, known, known, queued]);
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            ready: 3,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn delayed_job_does_not_start_early() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, tell(ran));

    let delay = Duration::from_millis(300);
    let pushed = Instant::now();
    queue.push_in(delay, "later", &Job { n: 0 }).await.unwrap();
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            delayed: 1,
            ..Counts::default()
        }
    );
    next(&mut runs).await;
    assert!(pushed.elapsed() >= delay);
}

#[tokio::test]
async fn push_fails_while_redis_is_down() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    queue.push("a", &Job { n: 0 }).await.unwrap();
    server.kill();
    assert!(queue.push("b", &Job { n: 0 }).await.is_err());
}
