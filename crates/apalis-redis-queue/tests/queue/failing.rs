//! Jobs that fail: retries, backoff, dead jobs.

use std::{
    future::pending,
    io,
    time::{Duration, Instant},
};

use apalis_redis_queue::{Counts, JobError, Pushed, QueueConfig, State};
use devstack::Redis;
use tokio::sync::mpsc::unbounded_channel;

use super::{Job, config, next, queue, tell, until_counts, until_dead, worker};

#[tokio::test]
async fn failed_job_is_retried_with_backoff_then_dead_with_its_error() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        backoff_base: Duration::from_millis(100),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 4, move |_: Job, context| {
        ran.send((context.attempt, Instant::now())).unwrap();
        async {
            Err(JobError::retry(NoReceipt(io::Error::other(
                "the printer is on fire",
            ))))
        }
    });

    queue.push("order:7", &Job { n: 7 }).await.unwrap();
    let (first, began) = next(&mut runs).await;
    let (second, again) = next(&mut runs).await;
    let (third, last) = next(&mut runs).await;
    assert_eq!([first, second, third], [1, 2, 3]);
    assert!(again - began >= Duration::from_millis(99));
    assert!(last - again >= Duration::from_millis(199));

    until_dead(&queue, 1).await;
    let dead = queue.jobs(State::Dead, 10).await.unwrap();
    assert_eq!(dead[0].id, "order:7");
    assert_eq!(dead[0].payload.as_deref(), Some(r#"{"n":7}"#));
    assert_eq!(dead[0].attempts, 3);
    assert_eq!(
        dead[0].error.as_deref(),
        Some("the receipt cannot be printed: the printer is on fire")
    );
    assert!((chrono::Utc::now() - dead[0].at.unwrap()).num_seconds().abs() < 60);
}

#[tokio::test]
async fn panics_and_timeouts_are_retried_then_dead_with_their_reason() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        job_timeout: Duration::from_millis(100),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let _worker = worker(&server, config, 1, |job: Job, _| async move {
        assert!(job.n == 0, "a bug");
        pending().await
    });

    queue.push("hangs", &Job { n: 0 }).await.unwrap();
    until_dead(&queue, 1).await;
    queue.push("panics", &Job { n: 1 }).await.unwrap();
    until_dead(&queue, 2).await;

    let dead = queue.jobs(State::Dead, 10).await.unwrap();
    assert_eq!(dead[0].error.as_deref(), Some("the job panicked: a bug"));
    assert_eq!(dead[1].error.as_deref(), Some("the job took longer than it may"));
    assert!(dead.iter().all(|job| job.attempts == 3));
}

#[tokio::test]
async fn job_that_gives_up_is_dead_at_once_and_can_be_retried_or_removed() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let (ran, mut runs) = unbounded_channel();
    let give_up = |_: Job, _| async { Err(JobError::give_up("no such order")) };
    let worker_that_fails = worker(&server, config(), 4, give_up);
    for id in ["a", "b"] {
        queue.push(id, &Job { n: 0 }).await.unwrap();
    }
    until_dead(&queue, 2).await;
    worker_that_fails.shutdown.cancel();
    worker_that_fails.ended().await.unwrap();
    assert_eq!(
        queue.push("a", &Job { n: 0 }).await.unwrap(),
        Pushed::AlreadyKnown
    );
    assert_eq!(queue.jobs(State::Dead, 1).await.unwrap().len(), 1);
    for state in [State::Ready, State::Done, State::Dead] {
        assert_eq!(queue.jobs(state, 0).await.unwrap(), []);
    }

    assert!(queue.remove("a").await.unwrap());
    assert!(!queue.remove("a").await.unwrap());
    assert!(!queue.retry("a").await.unwrap());
    assert!(queue.retry("b").await.unwrap());
    assert!(!queue.retry("b").await.unwrap());
    assert_eq!(queue.push("a", &Job { n: 1 }).await.unwrap(), Pushed::Queued);

    let _worker = worker(&server, config(), 1, tell(ran));
    for id in ["b", "a"] {
        let context = next(&mut runs).await;
        assert_eq!((context.task_id.as_str(), context.attempt), (id, 1));
    }
    until_counts(&queue, Counts::default()).await;
}

#[derive(Debug, thiserror::Error)]
#[error("the receipt cannot be printed")]
struct NoReceipt(#[source] io::Error);
