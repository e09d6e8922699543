//! Listing jobs by state.

use std::time::Duration;

use apalis_redis_queue::{Counts, JobError, JobInfo, QueueConfig, State};
use devstack::Redis;

use super::{Job, config, gate, queue, until, until_counts, worker};

fn ids(jobs: &[JobInfo]) -> Vec<&str> {
    jobs.iter().map(|job| job.id.as_str()).collect()
}

#[tokio::test]
async fn jobs_are_listed_by_their_state() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        backoff_base: Duration::from_mins(4),
        backoff_max: Duration::from_mins(5),
        ..config()
    };
    let queue = queue(&server, config.clone());
    for (n, id) in ["works", "fails", "dies", "runs"].into_iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        queue.push(id, &Job { n }).await.unwrap();
    }
    let later = Duration::from_hours(1);
    queue.push_in(later, "later", &Job { n: 0 }).await.unwrap();
    let ready = queue.jobs(State::Ready, 3).await.unwrap();
    assert_eq!(ids(&ready), ["works", "fails", "dies"], "the next jobs");
    assert_eq!(
        (ready[1].payload.as_deref(), ready[1].attempts, ready[1].at),
        (Some(r#"{"n":1}"#), 0, None)
    );

    let (gate, gated) = gate();
    let _worker = worker(&server, config, 4, move |job: Job, _| {
        let gate = gated.clone();
        async move {
            match job.n {
                1 => Err(JobError::retry("no paper")),
                2 => Err(JobError::give_up("no printer")),
                3 => {
                    gate.acquire().await.unwrap().forget();
                    Ok(())
                }
                _ => Ok(()),
            }
        }
    });
    let counts = Counts {
        ready: 0,
        delayed: 2,
        running: 1,
        dead: 1,
    };
    until_counts(&queue, counts).await;
    let delayed = queue.jobs(State::Delayed, 10).await.unwrap();
    assert_eq!(ids(&delayed), ["fails", "later"], "the next first");
    let failed = &delayed[0];
    assert_eq!(
        (failed.attempts, failed.max_attempts, failed.error.as_deref()),
        (1, 3, Some("no paper"))
    );
    assert!(failed.at < delayed[1].at && delayed[1].error.is_none());
    assert_eq!(ids(&queue.jobs(State::Running, 10).await.unwrap()), ["runs"]);
    assert_eq!(ids(&queue.jobs(State::Dead, 10).await.unwrap()), ["dies"]);
    assert_eq!(ids(&queue.jobs(State::Done, 10).await.unwrap()), ["works"]);
    assert_eq!(queue.done().await.unwrap(), 1);

    gate.add_permits(1);
    until(async || queue.done().await.unwrap() == 2).await;
    let done = queue.jobs(State::Done, 10).await.unwrap();
    assert_eq!(ids(&done), ["runs", "works"], "the latest first");
    assert_eq!((done[0].attempts, &done[0].payload), (1, &None));

    let asked = ["works", "fails", "dies", "later", "unheard of"].map(str::to_owned);
    let known = queue.known(&asked).await.unwrap();
    let states = asked.map(|id| known.get(&id).copied());
    let (done, dead) = (Some(State::Done), Some(State::Dead));
    assert_eq!(
        states,
        [done, Some(State::Delayed), dead, Some(State::Ready), None]
    );
}

#[tokio::test]
async fn done_jobs_are_forgotten_after_keep_done() {
    let server = Redis::throwaway().unwrap();
    let config = QueueConfig {
        keep_done: Duration::from_millis(500),
        ..config()
    };
    let queue = queue(&server, config.clone());
    let _worker = worker(&server, config, 1, |_: Job, _| std::future::ready(Ok(())));
    queue.push("early", &Job { n: 0 }).await.unwrap();
    until(async || queue.done().await.unwrap() == 1).await;
    until(async || queue.done().await.unwrap() == 0).await;
    assert_eq!(queue.jobs(State::Done, 10).await.unwrap(), []);
}
