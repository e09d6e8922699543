//! Schedules of periodic jobs, in UTC. Each worker runs them: the id of a run consists of its name and time, so that the queue
//! accepts it once.

use std::{str::FromStr, time::SystemTime};

use chrono::{DateTime, Days, TimeDelta, Utc};
use cron::Schedule;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{PeriodicJob, Queues};
use apalis_redis_queue::{Pushed, Queue, QueueError, State};

/// A periodic job and its schedule.
#[derive(Clone, Debug)]
pub(super) struct Periodic {
    name: &'static str,
    schedule: Schedule,
    job: fn(DateTime<Utc>) -> PeriodicJob,
}

/// All schedules: seconds, minutes, hours, day of month, month, day of week.
pub(super) fn all() -> Vec<Periodic> {
    let periodic = |name, schedule, job| {
        let schedule = Schedule::from_str(schedule).expect("the schedules below are valid");
        Periodic { name, schedule, job }
    };
    vec![
        periodic("reject-stuck-orders", "0 * * * * *", |_| {
            PeriodicJob::RejectStuckOrders
        }),
        // A day is reported once. Hourly runs make up for outages.
        periodic("daily-order-report", "0 5 * * * *", |due| {
            PeriodicJob::DailyOrderReport {
                day: (due - Days::new(1)).date_naive(),
            }
        }),
        periodic("clean-up-outbox", "30 */10 * * * *", |_| {
            PeriodicJob::CleanUpOutbox
        }),
        periodic("purge-idempotency-keys", "45 */10 * * * *", |_| {
            PeriodicJob::PurgeIdempotencyKeys
        }),
        periodic("purge-deliveries", "15 17 * * * *", |_| {
            PeriodicJob::PurgeDeliveries
        }),
        periodic("expire-reservations", "10 * * * * *", |_| {
            PeriodicJob::ExpireReservations
        }),
        periodic("make-partitions", "20 * * * * *", |_| PeriodicJob::MakePartitions),
    ]
}

/// Number of past runs that are looked up, because workers may have missed the latest.
const LOOKED_BACK: usize = 5;

/// A periodic job, for monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Name of the job.
    pub name: &'static str,
    /// The schedule.
    pub cron: String,
    /// Time of the next run.
    pub next: Option<DateTime<Utc>>,
    /// Past runs with time and job id, newest first.
    pub runs: Vec<(DateTime<Utc>, String)>,
}

/// All periodic jobs at the time `now`.
pub fn scheduled(now: DateTime<Utc>) -> Vec<Scheduled> {
    let scheduled = |periodic: Periodic| Scheduled {
        name: periodic.name,
        cron: periodic.schedule.source().to_owned(),
        next: periodic.schedule.after(&now).next(),
        runs: (periodic.schedule.after(&now).rev().take(LOOKED_BACK))
            .map(|time| (time, periodic.id(time)))
            .collect(),
    };
    all().into_iter().map(scheduled).collect()
}

impl Scheduled {
    /// The latest run that the queue knows, and its state.
    pub async fn last(&self, queues: &Queues) -> Result<Option<(DateTime<Utc>, State)>, QueueError> {
        let ids: Vec<String> = self.runs.iter().map(|(_, id)| id.clone()).collect();
        let known = queues.periodic.known(&ids).await?;
        let of = |(time, id): &(DateTime<Utc>, String)| Some((*time, *known.get(id)?));
        Ok(self.runs.iter().find_map(of))
    }

    /// Adds a manual run by the id from [`run_now`].
    pub fn asked_for(&mut self, at: DateTime<Utc>, id: String) {
        let earlier = self.runs.iter().position(|(time, _)| *time <= at);
        self.runs.insert(earlier.unwrap_or(self.runs.len()), (at, id));
    }

    /// The schedule in words.
    pub fn when(&self) -> String {
        let fields: Vec<&str> = self.cron.split_whitespace().collect();
        match fields[..] {
            [_, "*", "*", "*", "*", "*"] => "every minute".to_owned(),
            [_, minute, "*", "*", "*", "*"] => match minute.strip_prefix("*/") {
                Some(minutes) => format!("every {minutes} minutes"),
                None => format!("{minute} minutes past every hour"),
            },
            _ => self.cron.clone(),
        }
    }
}

/// Queues a run now. `key` makes repeated requests one run. Returns the id of its job; `None` for an unknown name.
pub async fn run_now(
    queues: &Queues,
    name: &str,
    key: &str,
    now: DateTime<Utc>,
) -> Result<Option<String>, QueueError> {
    let Some(periodic) = all().into_iter().find(|periodic| periodic.name == name) else {
        return Ok(None);
    };
    let id = format!("{name}-manual-{key}");
    queues.periodic.push(&id, &(periodic.job)(now)).await?;
    Ok(Some(id))
}

impl Periodic {
    /// The id of the run at a time.
    fn id(&self, time: DateTime<Utc>) -> String {
        format!("{}-{}", self.name, time.timestamp())
    }

    /// Pushes each run when it is due, until `shutdown`. Skips runs that were missed, such as while the machine slept.
    pub async fn run(self, queue: Queue<PeriodicJob>, shutdown: CancellationToken) {
        let mut now = DateTime::<Utc>::from(SystemTime::now());
        while let Some(due) = self.schedule.after(&now).next() {
            let pause = sleep((due - now).to_std().unwrap_or_default());
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
            self.push(&queue, due).await;
            // The clock may be slightly behind the timer. A clock that was set back counts: a report must not run early.
            let clock = DateTime::<Utc>::from(SystemTime::now());
            now = if due - clock < TimeDelta::seconds(1) {
                due.max(clock)
            } else {
                clock
            };
        }
    }

    /// Pushes the run of a time. Another scheduler may have pushed it already.
    async fn push(&self, queue: &Queue<PeriodicJob>, time: DateTime<Utc>) {
        let id = self.id(time);
        match queue.push(&id, &(self.job)(time)).await {
            Ok(Pushed::Queued) => tracing::debug!(id, "periodic job queued"),
            Ok(Pushed::AlreadyKnown) => {}
            Err(error) => tracing::warn!(id, %error, "periodic job could not be queued"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use deadpool_redis::{Config, Runtime};

    use super::*;
    use apalis_redis_queue::{self, QueueConfig};
    use devstack::Redis;

    fn job_at(time: &str) -> Vec<(&'static str, PeriodicJob)> {
        let now = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
        let due = |periodic: &Periodic| periodic.schedule.includes(now);
        let job = |periodic: Periodic| (periodic.name, (periodic.job)(now));
        all().into_iter().filter(due).map(job).collect()
    }

    #[test]
    fn daily_report_is_for_the_previous_utc_day() {
        let day = chrono::NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
        assert_eq!(
            job_at("2026-03-01T00:05:00Z"),
            [
                ("reject-stuck-orders", PeriodicJob::RejectStuckOrders),
                ("daily-order-report", PeriodicJob::DailyOrderReport { day }),
            ]
        );
        assert_eq!(
            job_at("2026-03-01T12:30:30Z"),
            [("clean-up-outbox", PeriodicJob::CleanUpOutbox)]
        );
        assert_eq!(
            job_at("2026-03-01T12:17:15Z"),
            [("purge-deliveries", PeriodicJob::PurgeDeliveries)]
        );
        assert_eq!(job_at("2026-03-01T12:30:31Z"), []);
    }

    #[test]
    fn schedule_lists_each_job_with_its_next_and_last_runs() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:30:10Z")
            .unwrap()
            .to_utc();
        let scheduled = scheduled(now);
        let words: Vec<String> = scheduled
            .iter()
            .map(|one| {
                format!(
                    "{}: {}, next {}",
                    one.name,
                    one.when(),
                    one.next.unwrap().format("%H:%M:%S")
                )
            })
            .collect();
        assert_eq!(
            words,
            [
                "reject-stuck-orders: every minute, next 12:31:00",
                "daily-order-report: 5 minutes past every hour, next 13:05:00",
                "clean-up-outbox: every 10 minutes, next 12:30:30",
                "purge-idempotency-keys: every 10 minutes, next 12:30:45",
                "purge-deliveries: 17 minutes past every hour, next 13:17:15",
                "expire-reservations: every minute, next 12:31:10",
                "make-partitions: every minute, next 12:30:20",
            ]
        );
        let (last, id) = &scheduled[2].runs[0];
        assert_eq!(
            (last.format("%H:%M:%S").to_string().as_str(), id.as_str()),
            ("12:20:30", "clean-up-outbox-1772367630")
        );
    }

    #[tokio::test]
    async fn run_scheduled_by_two_schedulers_is_done_once() {
        let redis = Redis::throwaway().unwrap();
        let config = QueueConfig::new("periodic");
        let every_second = Periodic {
            name: "every-second",
            schedule: Schedule::from_str("* * * * * *").unwrap(),
            job: |_| PeriodicJob::RejectStuckOrders,
        };
        let shutdown = CancellationToken::new();
        let mut schedulers = Vec::new();
        for _ in 0..2 {
            let pool = Config::from_url(redis.url(0))
                .create_pool(Some(Runtime::Tokio1))
                .unwrap();
            let queue = Queue::new(pool, config.clone());
            schedulers.push(tokio::spawn(every_second.clone().run(queue, shutdown.clone())));
        }
        let runs = Arc::new(Mutex::new(Vec::new()));
        let (ran, stop) = (runs.clone(), shutdown.clone());
        let handler = move |_: PeriodicJob, context: apalis_redis_queue::JobContext| {
            let mut ran = ran.lock().unwrap();
            ran.push(context.task_id);
            if ran.len() == 3 {
                stop.cancel();
            }
            std::future::ready(Ok(()))
        };
        apalis_redis_queue::work(&redis.url(0), config, 1, handler, shutdown)
            .await
            .unwrap();
        for scheduler in schedulers {
            scheduler.await.unwrap();
        }
        let runs = runs.lock().unwrap();
        assert!(
            runs.iter().all(|id| id.starts_with("every-second-1")),
            "a run is named by its time: {runs:?}"
        );
        assert!(
            runs.is_sorted_by(|one, next| one < next),
            "no run twice: {runs:?}"
        );
    }
}
