//! Workers while Redis hangs, restarts, loses its data or is not up yet.

use std::{collections::HashSet, time::Duration};

use apalis_redis_queue::{Counts, QueueConfig};
use devstack::Redis;
use tokio::{sync::mpsc::unbounded_channel, time::sleep};

use super::{
    Job, ask, config, connect, gate, gated_by, next, queue, tell, until, until_counts, until_subscribed,
    worker,
};

#[tokio::test]
async fn hanging_redis_delays_jobs_without_costing_an_attempt() {
    let server = Redis::throwaway().unwrap();
    // A claim whose answer is lost in the stall would make its jobs dead.
    let config = QueueConfig {
        max_attempts: 1,
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 4, tell(ran));
    until_subscribed(&server).await;

    // The jobs become due while Redis hangs. The first claim that Redis then reads gets them, and the worker has
    // already given that claim up.
    for n in 0..20 {
        queue
            .push_in(Duration::from_millis(200), &n.to_string(), &Job { n })
            .await
            .unwrap();
    }
    server.pause();
    sleep(Duration::from_millis(2500)).await;
    server.resume();

    let mut seen = HashSet::new();
    while seen.len() < 20 {
        assert!(seen.insert(next(&mut runs).await.task_id), "a job ran twice");
    }
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn worker_survives_a_restart_and_a_flush_of_redis() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let (gate, gated) = gate();
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, gated_by(gated, tell(ran)));
    let push = async |id: &str| until(async || queue.push(id, &Job { n: 0 }).await.is_ok()).await;

    push("before").await;
    next(&mut runs).await;
    server.kill();
    server.restart().unwrap();
    push("after restart").await;
    assert_eq!(next(&mut runs).await.task_id, "after restart");

    ask::<()>(&server, &["FLUSHALL"]).await;
    ask::<()>(&server, &["SCRIPT", "FLUSH"]).await;
    push("after flush").await;
    assert_eq!(next(&mut runs).await.task_id, "after flush");

    // The two running jobs that Redis lost end without effect.
    gate.add_permits(3);
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn worker_started_before_redis_begins_once_redis_is_up() {
    let server = Redis::throwaway().unwrap();
    server.kill();
    let queue = queue(&server, config());
    let (ran, mut runs) = unbounded_channel();
    let worker = worker(&server, config(), 4, tell(ran));
    sleep(Duration::from_millis(1500)).await;
    assert!(!worker.task.is_finished());

    server.restart().unwrap();
    until(async || queue.push("first", &Job { n: 0 }).await.is_ok()).await;
    assert_eq!(next(&mut runs).await.task_id, "first");
    until_subscribed(&server).await;
}

#[tokio::test]
async fn worker_reconnects_after_redis_refused_its_login() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let mut admin = connect(&server).await;
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, tell(ran));
    until_subscribed(&server).await;

    // A refused login is not an I/O error, so the connection manager does not retry after it.
    let mut command = async |arguments: &[&str]| {
        let mut command = redis::cmd(arguments[0]);
        let () = command
            .arg(&arguments[1..])
            .query_async(&mut admin)
            .await
            .unwrap();
    };
    command(&["CONFIG", "SET", "requirepass", "secret"]).await;
    command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    sleep(Duration::from_millis(500)).await;
    command(&["CONFIG", "SET", "requirepass", ""]).await;

    queue.push("first", &Job { n: 0 }).await.unwrap();
    assert_eq!(next(&mut runs).await.task_id, "first");
}
