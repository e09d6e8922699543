//! Claiming jobs and handing them to the handler.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apalis_redis_queue::{Counts, Queue, QueueConfig, QueueError, State, work};
use devstack::Redis;
use tokio::sync::{Barrier, mpsc::unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{Job, ask, config, next, pool, push_all, queue, tell, until_counts, until_dead, worker};

#[tokio::test]
async fn worker_runs_as_many_jobs_at_once_as_it_has_slots() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    let jobs: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    push_all(&queue, &jobs).await;

    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (together, peak) = (Arc::new(Barrier::new(8)), most.clone());
    let _worker = worker(&server, config(), 8, move |_: Job, _| {
        let (running, most, together) = (running.clone(), most.clone(), together.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            together.wait().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    until_counts(&queue, Counts::default()).await;
    assert_eq!(peak.load(Ordering::SeqCst), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_of_20000_ready_and_10000_due_jobs_drains() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        lease: Duration::from_secs(30),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let jobs: Vec<String> = (0..30_000).map(|n| format!("order:{n}")).collect();
    push_all(&queue, &jobs).await;
    let postpone = "for _ = 1, 10000 do redis.call('ZADD', KEYS[2], 1, redis.call('RPOP', KEYS[1])) end";
    ask::<()>(
        &server,
        &["EVAL", postpone, "2", "{q:test}:ready", "{q:test}:delayed"],
    )
    .await;
    let backlog = Counts {
        ready: 20_000,
        delayed: 10_000,
        ..Counts::default()
    };
    assert_eq!(queue.counts().await.unwrap(), backlog);

    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 64, tell(ran));
    let mut seen = HashSet::new();
    while seen.len() < jobs.len() {
        let context = next(&mut runs).await;
        assert!(seen.insert(context.task_id), "a job ran twice");
    }
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn job_with_a_broken_payload_is_dead_and_the_worker_continues() {
    let server = Redis::throwaway().unwrap();
    let broken = Queue::<String>::new(pool(&server), config());
    let queue = queue(&server, config());
    broken.push("broken", &"not an object".to_owned()).await.unwrap();
    queue.push("whole", &Job { n: 1 }).await.unwrap();

    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 1, tell(ran));
    assert_eq!(next(&mut runs).await.task_id, "whole");
    until_dead(&queue, 1).await;
    let dead = queue.jobs(State::Dead, 10).await.unwrap();
    assert_eq!(dead[0].payload.as_deref(), Some(r#""not an object""#));
    let error = dead[0].error.as_deref().unwrap();
    assert!(error.starts_with("broken payload: invalid type"), "{error}");
}

#[tokio::test]
async fn job_without_its_hash_is_skipped() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    queue.push("gone", &Job { n: 1 }).await.unwrap();
    queue.push("there", &Job { n: 2 }).await.unwrap();
    ask::<()>(&server, &["DEL", "{q:test}:job:gone"]).await;

    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 1, tell(ran));
    assert_eq!(next(&mut runs).await.task_id, "there");
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn work_fails_at_once_for_an_invalid_url() {
    let ended = work(
        "no url",
        config(),
        1,
        |_: Job, _| async { Ok(()) },
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(ended, Err(QueueError::Redis(_))));
}
