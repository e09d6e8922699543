//! The state of all jobs in Redis, read within a time limit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::timeout;

use super::queries;
use crate::{
    console::operator::Operator,
    worker::{
        self, Owed, Queues, Scheduled,
        dead_letters::{self, DeadLetter},
    },
};
use apalis_redis_queue::{Counts, QueueError};

/// How long a page waits for Redis.
pub const WAIT_FOR_REDIS: Duration = Duration::from_millis(1500);

/// The numbers of jobs of a queue by state.
#[derive(Debug)]
pub struct Counted {
    pub queue: String,
    pub counts: Counts,
    pub done: u64,
}

/// A periodic job and its last known run.
#[derive(Debug)]
pub struct Plan {
    pub scheduled: Scheduled,
    /// Its time, the name of its state, and the badge.
    pub last: Option<(DateTime<Utc>, &'static str, &'static str)>,
}

/// The state of all jobs; blank without Redis.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Whether Redis answers.
    pub redis: bool,
    pub queues: Vec<Counted>,
    pub plans: Vec<Plan>,
    pub dead: Vec<DeadLetter>,
}

impl Snapshot {
    /// Reads the queues, and the last runs of `scheduled`.
    pub async fn take(queues: &Queues, scheduled: Vec<Scheduled>) -> Self {
        if let Some(snapshot) = Box::pin(answered(Self::ask(queues, &scheduled))).await {
            return snapshot;
        }
        let unknown = |scheduled| Plan {
            scheduled,
            last: None,
        };
        Self {
            plans: scheduled.into_iter().map(unknown).collect(),
            ..Self::default()
        }
    }

    async fn ask(queues: &Queues, scheduled: &[Scheduled]) -> Result<Self, QueueError> {
        let mut snapshot = Self {
            redis: true,
            dead: dead_letters::in_queues(queues).await?,
            ..Self::default()
        };
        for queue in queues.all() {
            snapshot.queues.push(Counted {
                queue: queue.name().to_owned(),
                counts: queue.counts().await?,
                done: queue.done().await?,
            });
        }
        for scheduled in scheduled {
            let last = scheduled.last(queues).await?.map(|(time, state)| {
                let (name, badge) = super::state(state);
                (time, name, badge)
            });
            snapshot.plans.push(Plan {
                scheduled: scheduled.clone(),
                last,
            });
        }
        Ok(snapshot)
    }
}

/// The periodic jobs. The last run of one may have been started by an operator.
pub async fn scheduled(db: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<Scheduled>> {
    let mut scheduled = worker::scheduled(now);
    let names: Vec<&str> = scheduled.iter().map(|one| one.name).collect();
    for (name, at, id) in queries::asked_for(db, &names).await? {
        if let Some(scheduled) = scheduled.iter_mut().find(|one| one.name == name) {
            scheduled.asked_for(at, id);
        }
    }
    Ok(scheduled)
}

/// The answer of Redis, if it came in time.
pub async fn answered<T>(asked: impl Future<Output = Result<T, QueueError>>) -> Option<T> {
    match timeout(WAIT_FOR_REDIS, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a page is shown without Redis");
            None
        }
        Err(_) => None,
    }
}

/// Pending rows in PostgreSQL, for operators who see all stores.
pub async fn owed(db: &PgPool, operator: &Operator) -> sqlx::Result<Option<Owed>> {
    if operator.sees_jobs() {
        worker::owed(db).await.map(Some)
    } else {
        Ok(None)
    }
}

impl Counted {
    /// The count of each state, and the link to its list.
    pub fn states(&self) -> [(i64, String); 5] {
        let counts = &self.counts;
        let states = [
            (counts.ready, "ready"),
            (counts.delayed, "delayed"),
            (counts.running, "running"),
            (self.done, "done"),
            (counts.dead, "dead"),
        ];
        states.map(|(count, state)| {
            let link = format!("/admin/jobs/list/?queue={}&state={state}", self.queue);
            (i64::try_from(count).unwrap_or(i64::MAX), link)
        })
    }
}
