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
