//! Stopping workers.

use std::{future::pending, time::Duration};

use apalis_redis_queue::{Counts, QueueConfig};
use devstack::Redis;
use tokio::{sync::mpsc::unbounded_channel, time::sleep};

use super::{Job, config, gate, gated_by, next, queue, tell, until, until_counts, until_subscribed, worker};

#[tokio::test]
async fn shutdown_finishes_running_jobs_and_leaves_waiting_ones() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let (gate, gated) = gate();
    let (ran, mut runs) = unbounded_channel();
    let worker = worker(&server, config(), 1, gated_by(gated, tell(ran)));
    queue.push("running", &Job { n: 0 }).await.unwrap();
    next(&mut runs).await;
    queue.push("waiting", &Job { n: 0 }).await.unwrap();

    worker.shutdown.cancel();
    sleep(Duration::from_millis(100)).await;
    assert!(!worker.task.is_finished());
    gate.add_permits(1);
    worker.ended().await.unwrap();
    // No waiting: Redis is up to date when the worker has ended.
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            ready: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn job_longer_than_the_grace_period_is_released_without_an_attempt() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        grace: Duration::from_millis(50),
        lease: Duration::from_mins(10),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let hang = move |_: Job, context| {
        ran.send(context).unwrap();
        pending()
    };
    let first = worker(&server, config.clone(), 2, hang.clone());
    queue.push("endless", &Job { n: 0 }).await.unwrap();
    assert_eq!(next(&mut runs).await.attempt, 1);

    first.shutdown.cancel();
    first.ended().await.unwrap();
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            ready: 1,
            ..Counts::default()
        }
    );

    let second = worker(&server, config, 2, hang);
    assert_eq!(next(&mut runs).await.attempt, 1);
    // A dropped worker releases the job too.
    second.task.abort();
    until_counts(
        &queue,
        Counts {
            ready: 1,
            ..Counts::default()
        },
    )
    .await;
}

#[tokio::test]
async fn job_claimed_during_shutdown_is_released() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        lease: Duration::from_mins(10),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let worker = worker(&server, config.clone(), 4, |_: Job, _| pending());
    until_subscribed(&server).await;

    queue
        .push_in(Duration::from_millis(100), "late", &Job { n: 0 })
        .await
        .unwrap();
    server.pause();
    sleep(Duration::from_millis(300)).await;
    worker.shutdown.cancel();
    sleep(Duration::from_millis(100)).await;
    server.resume();
    worker.ended().await.unwrap();
    until(async || {
        let counts = queue.counts().await.unwrap();
        counts.running == 0
    })
    .await;

    let (ran, mut runs) = unbounded_channel();
    let _next = self::worker(&server, config, 4, tell(ran));
    assert_eq!(next(&mut runs).await.attempt, 1);
}

#[tokio::test]
async fn worker_stopped_before_it_starts_claims_nothing() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    queue.push("waiting", &Job { n: 0 }).await.unwrap();
    let worker = worker(&server, config(), 1, |_: Job, _| pending());
    worker.shutdown.cancel();
    worker.ended().await.unwrap();
    let counts = Counts {
        ready: 1,
        ..Counts::default()
    };
    assert_eq!(queue.counts().await.unwrap(), counts);
}

#[tokio::test]
async fn worker_stops_in_time_while_redis_is_down() {
    let server = Redis::throwaway().unwrap();
    let worker = worker(&server, config(), 1, |_: Job, _| pending());
    until_subscribed(&server).await;
    server.kill();
    worker.shutdown.cancel();
    worker.ended().await.unwrap();
}
