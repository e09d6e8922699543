//! The job queue against a real Redis, which is stalled, killed and emptied where that is the point.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::HashSet,
    env,
    future::pending,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use afforo::queue::{Counts, JobContext, JobError, Pushed, Queue, QueueConfig, QueueError, work};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        Barrier, Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::redis::RedisServer;

const CRASH_URL: &str = "AFFORO_TEST_CRASH_URL";

#[tokio::test]
async fn a_pushed_job_runs_with_its_payload_and_leaves_nothing_behind() {
    let server = RedisServer::start();
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
async fn a_push_wakes_a_worker_that_would_poll_much_later() {
    let server = RedisServer::start();
    let config = QueueConfig {
        poll: Duration::from_mins(10),
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
async fn an_id_is_queued_once_while_its_job_waits_runs_and_is_kept_as_done() {
    let server = RedisServer::start();
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
async fn a_done_job_is_forgotten_after_its_time() {
    let server = RedisServer::start();
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
async fn pushing_many_answers_for_each_of_them() {
    let server = RedisServer::start();
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
async fn a_delayed_job_does_not_start_early() {
    let server = RedisServer::start();
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
async fn a_failure_is_retried_after_growing_pauses_and_then_kept_as_dead_with_its_error() {
    let server = RedisServer::start();
    let config = QueueConfig {
        backoff_base: Duration::from_millis(100),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 4, move |_: Job, context| {
        ran.send((context.attempt, Instant::now())).unwrap();
        async { Err(JobError::retry(std::io::Error::other("the printer is on fire"))) }
    });

    queue.push("order:7", &Job { n: 7 }).await.unwrap();
    let (first, began) = next(&mut runs).await;
    let (second, again) = next(&mut runs).await;
    let (third, last) = next(&mut runs).await;
    assert_eq!([first, second, third], [1, 2, 3]);
    assert!(again - began >= Duration::from_millis(99));
    assert!(last - again >= Duration::from_millis(199));

    until_counts(
        &queue,
        Counts {
            dead: 1,
            ..Counts::default()
        },
    )
    .await;
    let dead = queue.dead(10).await.unwrap();
    assert_eq!(dead[0].id, "order:7");
    assert_eq!(dead[0].payload, r#"{"n":7}"#);
    assert_eq!(dead[0].attempts, 3);
    assert_eq!(dead[0].error, "the printer is on fire");
    assert!((chrono::Utc::now() - dead[0].died_at).num_seconds().abs() < 60);
}

#[tokio::test]
async fn a_panic_and_a_timeout_are_retried() {
    let server = RedisServer::start();
    let config = QueueConfig {
        job_timeout: Duration::from_millis(100),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config, 1, move |job: Job, context| {
        let ran = ran.clone();
        async move {
            match (job.n, context.attempt) {
                (1, 1) => panic!("a bug"),
                (2, 1) => pending().await,
                _ => ran.send(context).map_err(JobError::give_up),
            }
        }
    });

    queue.push("panics", &Job { n: 1 }).await.unwrap();
    queue.push("hangs", &Job { n: 2 }).await.unwrap();
    let again = [next(&mut runs).await, next(&mut runs).await];
    assert!(again.iter().all(|context| context.attempt == 2));
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn a_job_that_gives_up_is_dead_at_once_and_may_be_retried_or_removed() {
    let server = RedisServer::start();
    let queue = queue(&server, config());
    let (ran, mut runs) = unbounded_channel();
    let give_up = |_: Job, _| async { Err(JobError::give_up("no such order")) };
    let worker_that_fails = worker(&server, config(), 4, give_up);
    for id in ["a", "b"] {
        queue.push(id, &Job { n: 0 }).await.unwrap();
    }
    until_counts(
        &queue,
        Counts {
            dead: 2,
            ..Counts::default()
        },
    )
    .await;
    worker_that_fails.shutdown.cancel();
    worker_that_fails.ended().await.unwrap();
    assert_eq!(
        queue.push("a", &Job { n: 0 }).await.unwrap(),
        Pushed::AlreadyKnown
    );
    assert_eq!(queue.dead(1).await.unwrap().len(), 1);
    assert_eq!(queue.dead(0).await.unwrap().len(), 0);

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

#[tokio::test]
async fn a_broken_payload_is_dead_with_its_error_and_the_worker_goes_on() {
    let server = RedisServer::start();
    let broken = Queue::<String>::new(pool(&server), config());
    let queue = queue(&server, config());
    broken.push("broken", &"not an object".to_owned()).await.unwrap();
    queue.push("whole", &Job { n: 1 }).await.unwrap();

    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 1, tell(ran));
    assert_eq!(next(&mut runs).await.task_id, "whole");
    until_counts(
        &queue,
        Counts {
            dead: 1,
            ..Counts::default()
        },
    )
    .await;
    let dead = queue.dead(10).await.unwrap();
    assert_eq!(dead[0].payload, r#""not an object""#);
    assert!(
        dead[0].error.starts_with("broken payload: invalid type"),
        "{}",
        dead[0].error
    );
}

#[tokio::test]
async fn a_job_whose_data_vanished_is_skipped() {
    let server = RedisServer::start();
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
async fn as_many_jobs_run_at_once_as_there_are_slots_and_no_more() {
    let server = RedisServer::start();
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

#[tokio::test]
async fn a_job_that_outlasts_its_lease_runs_once() {
    let server = RedisServer::start();
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
async fn a_worker_that_lost_its_lease_has_no_say_any_more() {
    let server = RedisServer::start();
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
async fn a_job_whose_worker_was_killed_runs_again_and_the_attempt_counts() {
    let server = RedisServer::start();
    let queue = queue(&server, config());
    queue.push("order:7", &Job { n: 7 }).await.unwrap();

    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "queue::a_worker_to_be_killed", "--ignored"])
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
async fn a_worker_to_be_killed() {
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
async fn a_job_that_kills_its_worker_at_every_attempt_dies_too() {
    let server = RedisServer::start();
    let config = QueueConfig {
        lease: Duration::from_millis(50),
        heartbeat: Duration::from_hours(1),
        ..config()
    };
    let queue = queue(&server, config.clone());
    queue.push("poison", &Job { n: 0 }).await.unwrap();
    // A handler that never ends, with a lease that nobody renews, looks to Redis like a crash.
    let _worker = worker(&server, config, 4, |_: Job, _| pending());
    until_counts(
        &queue,
        Counts {
            dead: 1,
            ..Counts::default()
        },
    )
    .await;
    let dead = queue.dead(1).await.unwrap();
    assert_eq!(dead[0].attempts, 3);
    assert_eq!(dead[0].error, "the lease ran out: the worker crashed or hung");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_twenty_thousand_ready_and_ten_thousand_due_jobs_drains() {
    let server = RedisServer::start();
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
async fn a_redis_that_hangs_delays_jobs_and_costs_them_no_attempt() {
    let server = RedisServer::start();
    // A single claim that gets lost in the stall would leave its job dead.
    let config = QueueConfig {
        max_attempts: 1,
        lease: Duration::from_secs(5),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config.clone(), 4, tell(ran));
    queue.push("before", &Job { n: 0 }).await.unwrap();
    next(&mut runs).await;

    server.pause();
    let pushes: Vec<_> = (0..20)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.push(&format!("during:{n}"), &Job { n }).await })
        })
        .collect();
    sleep(Duration::from_millis(2500)).await;
    server.resume();
    for push in pushes {
        // Redis may execute it though the answer came too late, and then it is known already.
        let _ = push.await.unwrap();
    }
    for n in 0..20 {
        until(async || queue.push(&format!("during:{n}"), &Job { n }).await.is_ok()).await;
    }

    let mut seen = HashSet::new();
    while seen.len() < 20 {
        assert!(seen.insert(next(&mut runs).await.task_id), "a job ran twice");
    }
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn a_worker_outlasts_a_redis_that_restarts_and_one_that_forgets_everything() {
    let server = RedisServer::start();
    let queue = queue(&server, config());
    let (gate, gated) = gate();
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, gated_by(gated, tell(ran)));
    let push = async |id: &str| until(async || queue.push(id, &Job { n: 0 }).await.is_ok()).await;

    push("before").await;
    next(&mut runs).await;
    server.kill();
    server.restart();
    push("after restart").await;
    assert_eq!(next(&mut runs).await.task_id, "after restart");

    ask::<()>(&server, &["FLUSHALL"]).await;
    ask::<()>(&server, &["SCRIPT", "FLUSH"]).await;
    push("after flush").await;
    assert_eq!(next(&mut runs).await.task_id, "after flush");

    // The two that Redis forgot while they ran end without effect.
    gate.add_permits(3);
    until_counts(&queue, Counts::default()).await;
}

#[tokio::test]
async fn a_worker_that_starts_before_redis_begins_when_redis_is_there() {
    let server = RedisServer::start();
    server.kill();
    let queue = queue(&server, config());
    let (ran, mut runs) = unbounded_channel();
    let worker = worker(&server, config(), 4, tell(ran));
    sleep(Duration::from_millis(1500)).await;
    assert!(!worker.task.is_finished());

    server.restart();
    until(async || queue.push("first", &Job { n: 0 }).await.is_ok()).await;
    assert_eq!(next(&mut runs).await.task_id, "first");
    until_subscribed(&server).await;
}

#[tokio::test]
async fn a_worker_that_redis_once_turned_away_comes_back() {
    let server = RedisServer::start();
    let queue = queue(&server, config());
    let mut admin = connect(&server).await;
    let (ran, mut runs) = unbounded_channel();
    let _worker = worker(&server, config(), 4, tell(ran));
    until_subscribed(&server).await;

    // "max number of clients reached" is no I/O error, and the connection manager would not try again.
    let mut command = async |arguments: &[&str]| {
        let () = redis::cmd(arguments[0])
            .arg(&arguments[1..])
            .query_async(&mut admin)
            .await
            .unwrap();
    };
    command(&["CONFIG", "SET", "maxclients", "1"]).await;
    command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    sleep(Duration::from_millis(500)).await;
    command(&["CONFIG", "SET", "maxclients", "100"]).await;

    queue.push("first", &Job { n: 0 }).await.unwrap();
    assert_eq!(next(&mut runs).await.task_id, "first");
}

#[tokio::test]
async fn at_shutdown_running_jobs_finish_and_waiting_ones_stay() {
    let server = RedisServer::start();
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
    // Not awaited: when the worker has ended, Redis knows already.
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            ready: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn a_job_that_outlasts_the_grace_is_returned_and_keeps_its_attempt() {
    let server = RedisServer::start();
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
    // Dropped without a word, it returns the job too.
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
async fn a_url_that_is_none_is_an_error_at_once() {
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

#[tokio::test]
async fn a_queue_whose_redis_is_away_answers_with_an_error() {
    let server = RedisServer::start();
    let queue = queue(&server, config());
    queue.push("a", &Job { n: 0 }).await.unwrap();
    server.kill();
    assert!(queue.push("b", &Job { n: 0 }).await.is_err());
}

/// Measures; asserts nothing. Run it by name with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "it has nothing else to say")]
async fn how_quick_it_is() {
    let server = RedisServer::start();
    let config = QueueConfig {
        lease: Duration::from_secs(30),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let (ran, mut runs) = unbounded_channel();
    let worker = worker(&server, config, 64, move |_: Job, _| {
        ran.send(Instant::now()).unwrap();
        async { Ok(()) }
    });
    until_subscribed(&server).await;

    let mut latencies = Vec::new();
    for n in 0..500 {
        let pushed = Instant::now();
        queue.push(&format!("one:{n}"), &Job { n }).await.unwrap();
        latencies.push(next(&mut runs).await - pushed);
        sleep(Duration::from_millis(2)).await;
    }
    latencies.sort();
    println!(
        "push to start: p50 {:?}, p99 {:?}",
        latencies[250], latencies[495]
    );

    let jobs: Vec<String> = (0..20_000).map(|n| format!("many:{n}")).collect();
    let began = Instant::now();
    push_all(&queue, &jobs).await;
    println!(
        "pushed in portions: {:.0}/s",
        20_000.0 / began.elapsed().as_secs_f64()
    );
    for _ in 0..20_000 {
        next(&mut runs).await;
    }
    until_counts(&queue, Counts::default()).await;
    println!(
        "pushed and drained: {:.0}/s",
        20_000.0 / began.elapsed().as_secs_f64()
    );
    drop(worker);
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Job {
    n: u32,
}

/// Short times, yet long enough for a busy machine.
fn config() -> QueueConfig {
    QueueConfig {
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(50),
        backoff_base: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        keep_done: Duration::from_mins(10),
        max_attempts: 3,
        job_timeout: Duration::from_secs(20),
        grace: Duration::from_secs(10),
        ..QueueConfig::new("test")
    }
}

fn pool(server: &RedisServer) -> deadpool_redis::Pool {
    deadpool_redis::Config::from_url(server.url(0))
        .create_pool(Some(deadpool_redis::Runtime::Tokio1))
        .unwrap()
}

fn queue(server: &RedisServer, config: QueueConfig) -> Queue<Job> {
    Queue::new(pool(server), config)
}

/// A worker in the background, which ends with this value.
struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), QueueError>>,
}

impl Worker {
    async fn ended(mut self) -> Result<(), QueueError> {
        timeout(Duration::from_secs(10), &mut self.task)
            .await
            .expect("the worker ends")
            .unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn worker<F, Fut>(server: &RedisServer, config: QueueConfig, concurrency: usize, handler: F) -> Worker
where
    F: Fn(Job, JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let (url, shutdown) = (server.url(0), CancellationToken::new());
    let stop = shutdown.clone();
    let task = tokio::spawn(async move { work(&url, config, concurrency, handler, stop).await });
    Worker { shutdown, task }
}

/// A handler that reports each run, and succeeds.
fn tell(
    ran: UnboundedSender<JobContext>,
) -> impl Fn(Job, JobContext) -> std::future::Ready<Result<(), JobError>> + Clone {
    move |_, context| {
        ran.send(context).unwrap();
        std::future::ready(Ok(()))
    }
}

/// Runs end only as permits are added to the gate.
fn gate() -> (Arc<Semaphore>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    (gate.clone(), gate)
}

fn gated_by<F, Fut>(
    gate: Arc<Semaphore>,
    handler: F,
) -> impl Fn(Job, JobContext) -> futures::future::BoxFuture<'static, Result<(), JobError>>
where
    F: Fn(Job, JobContext) -> Fut,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    move |job, context| {
        let (gate, run) = (gate.clone(), handler(job, context));
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            run.await
        })
    }
}

async fn push_all(queue: &Queue<Job>, ids: &[String]) {
    let job = Job { n: 0 };
    let jobs: Vec<(&str, &Job)> = ids.iter().map(|id| (id.as_str(), &job)).collect();
    let pushed = queue.push_many(&jobs).await.unwrap();
    assert!(pushed.iter().all(|pushed| *pushed == Pushed::Queued));
}

async fn next<R>(runs: &mut UnboundedReceiver<R>) -> R {
    timeout(Duration::from_secs(10), runs.recv())
        .await
        .expect("a job runs")
        .unwrap()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let patience = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(15), patience)
        .await
        .expect("it becomes true");
}

async fn until_counts(queue: &Queue<Job>, expected: Counts) {
    let mut counts = None;
    let reached = until(async || {
        counts = queue.counts().await.ok();
        counts == Some(expected)
    });
    let reached = timeout(Duration::from_secs(12), reached).await;
    assert!(reached.is_ok(), "counts are {counts:?}, not {expected:?}");
}

async fn until_subscribed(server: &RedisServer) {
    until(async || {
        let (_, subscribers): (String, u32) = ask(server, &["PUBSUB", "NUMSUB", "{q:test}:wake"]).await;
        subscribers == 1
    })
    .await;
}

async fn connect(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    redis::Client::open(server.url(0))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

async fn ask<R: redis::FromRedisValue>(server: &RedisServer, command: &[&str]) -> R {
    let mut connection = connect(server).await;
    redis::cmd(command[0])
        .arg(&command[1..])
        .query_async(&mut connection)
        .await
        .unwrap()
}
