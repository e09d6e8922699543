//! When periodic work is due, in UTC. Every worker runs the schedule: a run's id is made of its name and its time, so that
//! the queue takes it once, whoever pushes it first.

use std::{
    convert::Infallible,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use apalis::prelude::{WorkerBuilder, WorkerError};
use apalis_cron::{CronScheduler, Tick};
use chrono::{DateTime, Days, Utc};
use cron::Schedule;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::PeriodicJob;
use crate::queue::{Pushed, Queue};

/// Before a schedule that ended by itself starts again.
const PAUSE: Duration = Duration::from_secs(1);

/// One kind of periodic work.
#[derive(Clone, Debug)]
pub(super) struct Periodic {
    name: &'static str,
    schedule: Schedule,
    job: fn(DateTime<Utc>) -> PeriodicJob,
}

/// Everything that is done periodically. Seconds, minutes, hours, day of month, month, day of week.
pub(super) fn all() -> Result<Vec<Periodic>, cron::error::Error> {
    let periodic =
        |name, schedule, job| Schedule::from_str(schedule).map(|schedule| Periodic { name, schedule, job });
    Ok(vec![
        periodic("reject-stuck-orders", "0 * * * * *", |_| {
            PeriodicJob::RejectStuckOrders
        })?,
        // A day is reported once. Asking every hour makes up for a time when nobody could.
        periodic("daily-order-report", "0 5 * * * *", |tick| {
            PeriodicJob::DailyOrderReport {
                day: (tick - Days::new(1)).date_naive(),
            }
        })?,
        periodic("clean-up-outbox", "30 */10 * * * *", |_| {
            PeriodicJob::CleanUpOutbox
        })?,
        periodic("purge-idempotency-keys", "45 */10 * * * *", |_| {
            PeriodicJob::PurgeIdempotencyKeys
        })?,
        periodic("purge-deliveries", "15 17 * * * *", |_| {
            PeriodicJob::PurgeDeliveries
        })?,
    ])
}

impl Periodic {
    /// Pushes each run at its time, until `shutdown`.
    pub async fn run(self, queue: Queue<PeriodicJob>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ticks = CronScheduler::new(self.schedule.clone());
            let (this, queue) = (self.clone(), queue.clone());
            let worker = WorkerBuilder::new(format!("{}-{}", self.name, Uuid::now_v7().simple()))
                .backend(ticks)
                .build(move |tick: Tick| {
                    let (this, queue) = (this.clone(), queue.clone());
                    async move {
                        this.push(&queue, tick).await;
                        Ok::<_, Infallible>(())
                    }
                });
            let stop = shutdown.clone();
            let ended = worker
                .run_until(async move {
                    stop.cancelled().await;
                    Ok::<_, WorkerError>(())
                })
                .await;
            if let Err(error) = ended {
                tracing::warn!(schedule = self.name, %error, "schedule ended by itself; it starts again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
    }

    /// Pushes the run that is due at `tick`. Another scheduler may have done so already.
    async fn push(&self, queue: &Queue<PeriodicJob>, tick: Tick) {
        let timestamp = tick.get_timestamp();
        let time = DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_secs(timestamp));
        let id = format!("{}-{timestamp}", self.name);
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
    use crate::{
        devstack::Redis,
        queue::{self, QueueConfig},
    };

    fn job_at(time: &str) -> Vec<(&'static str, PeriodicJob)> {
        let now = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
        let due = |periodic: &Periodic| periodic.schedule.includes(now);
        let job = |periodic: Periodic| (periodic.name, (periodic.job)(now));
        all().unwrap().into_iter().filter(due).map(job).collect()
    }

    #[test]
    fn a_day_is_reported_when_it_has_ended_in_utc() {
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

    #[tokio::test]
    async fn two_schedulers_have_each_run_done_once() {
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
        let handler = move |_: PeriodicJob, context: queue::JobContext| {
            let mut ran = ran.lock().unwrap();
            ran.push(context.task_id);
            if ran.len() == 3 {
                stop.cancel();
            }
            std::future::ready(Ok(()))
        };
        queue::work(&redis.url(0), config, 1, handler, shutdown)
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
