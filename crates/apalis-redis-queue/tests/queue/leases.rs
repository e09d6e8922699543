//! Leases of slow, hung and crashed workers.

use std::{
    env,
    future::pending,
    process::{Command, Stdio},
    time::Duration,
};

use apalis_redis_queue::{Counts, JobContext, JobError, QueueConfig, State, work};
use devstack::Redis;
use tokio::{sync::mpsc::unbounded_channel, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Job, ask, config, gate, gated_by, next, queue, tell, until, until_counts, until_dead, worker};

const CRASH_URL: &str = "AFFORO_TEST_CRASH_URL";

#[tokio::test]
async fn job_longer_than_its_lease_runs_once() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        lease: Duration::from_millis(600),
        heartbeat: Duration::from_millis(100),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let slow = move |_: Job, context| {
        ran.send(context).unwrap();
        async {
            sleep(Duration::from_millis(1500)).await;
            Ok(())
        }
    };
    let _one = worker(&server, config.clone(), 2, slow.clone());
    let _other = worker(&server, config, 2, slow);

    queue.push("long", &Job { n: 0 }).await.unwrap();
    next(&mut runs).await;
    until_counts(&queue, Counts::default()).await;
    assert!(runs.try_recv().is_err());
}

#[tokio::test]
async fn result_of_a_worker_that_lost_its_lease_is_ignored() {
    let server = Redis::throwaway().unwrap();
    let forgetful = QueueConfig {
        lease: Duration::from_millis(100),
        heartbeat: Duration::from_hours(1),
        ..config()
    };
    let queue = queue(&server, config());
    let (old_gate, gated) = gate();
    let (ran, mut old_runs) = unbounded_channel();
    let give_up = move |_: Job, context| {
        let (ran, gated) = (ran.clone(), gated.clone());
        async move {
            ran.send(context).unwrap();
            gated.acquire().await.unwrap().forget();
            Err(JobError::give_up("this must not count"))
        }
    };
    let _old = worker(&server, forgetful, 1, give_up);
    queue.push("contested", &Job { n: 0 }).await.unwrap();
    assert_eq!(next(&mut old_runs).await.attempt, 1);

    let (new_gate, gated) = gate();
    let (ran, mut new_runs) = unbounded_channel();
    let _new = worker(&server, config(), 1, gated_by(gated, tell(ran)));
    assert_eq!(next(&mut new_runs).await.attempt, 2);

    old_gate.add_permits(1);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            running: 1,
            ..Counts::default()
        }
    );
    new_gate.add_permits(1);
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn job_of_a_killed_worker_runs_again_and_counts_the_attempt() {
    let server = Redis::throwaway().unwrap();
    let queue = queue(&server, config());
    queue.push("order:7", &Job { n: 7 }).await.unwrap();

    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "leases::worker_process_to_kill", "--ignored"])
        .env(CRASH_URL, server.url(0))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(async || ask::<Option<u32>>(&server, &["GET", "attempt"]).await == Some(1)).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 1, tell(ran));
    assert_eq!(next(&mut runs).await.attempt, 2);
    until_counts(&queue, Counts::default()).await;
}

/// Not a test: the process that `a_job_whose_worker_was_killed…` kills.
#[tokio::test]
#[ignore = "run by another test"]
async fn worker_process_to_kill() {
    let url = env::var(CRASH_URL).unwrap();
    let redis = redis::Client::open(url.as_str()).unwrap();
    let hang = move |_: Job, context: JobContext| {
        let redis = redis.clone();
        async move {
            let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
            let () = redis::cmd("SET")
                .arg("attempt")
                .arg(context.attempt)
                .query_async(&mut redis)
                .await
                .unwrap();
            pending().await
        }
    };
    work(&url, config(), 1, hang, CancellationToken::new())
        .await
        .unwrap();
}

#[tokio::test]
async fn job_that_always_crashes_its_worker_becomes_dead() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        lease: Duration::from_millis(50),
        heartbeat: Duration::from_hours(1),
        ..config()
    };
    let queue = queue(&server, config.clone());
    queue.push("poison", &Job { n: 0 }).await.unwrap();
    // A handler that never ends, with a lease that is not renewed, looks to Redis like a crash.
    let _worker = worker(&server, config, 4, |_: Job, _| pending());
    until_dead(&queue, 1).await;
    let dead = queue.jobs(State::Dead, 1).await.unwrap();
    assert_eq!(dead[0].attempts, 3);
    assert_eq!(
        dead[0].error.as_deref(),
        Some("the lease ran out: the worker crashed or hung")
    );
}
