//! What Redis says of all jobs, in bounded time.

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

/// How many jobs of a queue are in which state.
#[derive(Debug)]
pub struct Counted {
    pub queue: String,
    pub counts: Counts,
    pub done: u64,
}

/// Something periodic, and its last run as far as it is known.
#[derive(Debug)]
pub struct Plan {
    pub scheduled: Scheduled,
    /// When it was due, what became of it, and the badge of that.
    pub last: Option<(DateTime<Utc>, &'static str, &'static str)>,
}

/// What Redis says, or nothing of it.
#[derive(Debug, Default)]
pub struct Glance {
    /// Whether Redis answers.
    pub redis: bool,
    pub queues: Vec<Counted>,
    pub plans: Vec<Plan>,
    pub dead: Vec<DeadLetter>,
}

impl Glance {
    /// Asks for everything about what is `scheduled`, as it stands now.
    pub async fn take(queues: &Queues, scheduled: Vec<Scheduled>) -> Self {
        if let Some(glance) = Box::pin(answered(Self::ask(queues, &scheduled))).await {
            return glance;
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
        let mut glance = Self {
            redis: true,
            dead: dead_letters::in_queues(queues).await?,
            ..Self::default()
        };
        for queue in queues.all() {
            glance.queues.push(Counted {
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
            glance.plans.push(Plan {
                scheduled: scheduled.clone(),
                last,
            });
        }
        Ok(glance)
    }
}

/// What is done periodically, with the last runs of it, also those that were asked for: who did so is to see what became of it.
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

/// What Redis answered, if it did in time.
pub async fn answered<T>(asked: impl Future<Output = Result<T, QueueError>>) -> Option<T> {
    match timeout(WAIT_FOR_REDIS, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a page was made without Redis");
            None
        }
        Err(_) => None,
    }
}

/// What PostgreSQL owes, for who sees all stores.
pub async fn owed(db: &PgPool, operator: &Operator) -> sqlx::Result<Option<Owed>> {
    if operator.sees_jobs() {
        worker::owed(db).await.map(Some)
    } else {
        Ok(None)
    }
}

impl Counted {
    /// The states with their counts, and where the list of each is.
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
