//! What needs attention: what was given up, what waits for too long, what is away, and what customers ask for in vain.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::timeout;

use super::statistics;
use crate::{
    auth::Stores,
    console::{
        format::count,
        orders::queries::{self, Filter},
    },
    worker::{Owed, Queues},
};
use apalis_redis_queue::Counts;

/// How long Redis may take to say how much waits. The page does without it after that.
const REDIS_WITHIN: Duration = Duration::from_secs(1);
/// A confirmation that is owed for longer is late.
const LATE: f64 = 60.0;
/// One that is owed for longer while nothing runs has nobody to send it.
const IDLE: f64 = 15.0;
/// The latest rejections that are looked at.
const REJECTIONS: i64 = 500;
/// Products that are named, at most.
const NAMED: i64 = 5;

/// How the queues stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jobs {
    /// Waiting, also for their time.
    pub waiting: u64,
    /// With a worker.
    pub running: u64,
    /// Failed for good.
    pub dead: u64,
}

/// Something to look at.
#[derive(Debug)]
pub struct Concern {
    /// `bad` or `warn`.
    pub class: &'static str,
    /// What it is.
    pub text: String,
    /// Where to look.
    pub link: String,
    /// What is there.
    pub label: &'static str,
}

/// Asks Redis; `None` if it does not answer.
pub async fn jobs(queues: &Queues) -> Option<Jobs> {
    let counted = timeout(REDIS_WITHIN, queues.counts()).await.ok()?.ok()?;
    let sum = |jobs: Jobs, (_, counts): &(String, Counts)| Jobs {
        waiting: jobs.waiting + counts.ready + counts.delayed,
        running: jobs.running + counts.running,
        dead: jobs.dead + counts.dead,
    };
    Some(counted.iter().fold(Jobs::default(), sum))
}

/// Everything that needs attention, the worst first.
pub async fn concerns(
    db: &PgPool,
    jobs: Option<&(Option<Jobs>, Owed)>,
    stores: &Stores,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Concern>> {
    let mut concerns = jobs.map_or_else(Vec::new, |(jobs, owed)| of_jobs(*jobs, owed));
    concerns.extend(in_vain(db, stores, since).await?);
    Ok(concerns)
}

fn of_jobs(jobs: Option<Jobs>, owed: &Owed) -> Vec<Concern> {
    let concern = |class, text: String, link: &str, label| Concern {
        class,
        text,
        link: link.to_owned(),
        label,
    };
    let mut concerns = Vec::new();
    let oldest = owed.outbox.oldest_seconds;
    if jobs.is_none() {
        let text =
            "Redis does not answer: confirmations wait for it, and the queues cannot be asked.".to_owned();
        concerns.push(concern("bad", text, "/admin/system/", "System"));
    }
    if jobs.is_some_and(|jobs| jobs.running == 0) && owed.outbox.rows > 0 && oldest > IDLE {
        let text = format!(
            "No worker seems to be at work: confirmations have been owed for {}.",
            spell(oldest)
        );
        concerns.push(concern("bad", text, "/admin/jobs/", "Jobs"));
    } else if oldest > LATE {
        let text = format!(
            "Confirmations are late: the first has been owed for {}.",
            spell(oldest)
        );
        concerns.push(concern("warn", text, "/admin/jobs/", "Jobs"));
    }
    let dead: i64 = owed.deliveries.iter().map(|depth| depth.dead).sum();
    let letters = [
        (
            jobs.map_or(0, |jobs| i64::try_from(jobs.dead).unwrap_or(i64::MAX)),
            "dead in the queues",
        ),
        (owed.outbox.dead, "given up with confirmations that are owed"),
        (dead, "given up on their way to a receiver"),
    ];
    for (number, what) in letters.into_iter().filter(|(number, _)| *number > 0) {
        let (number, noun) = (count(number), if number == 1 { "job" } else { "jobs" });
        let text = format!("{number} {noun} {what}.");
        concerns.push(concern("bad", text, "/admin/jobs/#letters", "Dead jobs"));
    }
    concerns
}

fn spell(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor();
    if minutes < 1.0 {
        format!("{seconds:.0} seconds")
    } else if minutes < 120.0 {
        format!("{minutes:.0} min")
    } else {
        format!("{:.0} hours", (minutes / 60.0).floor())
    }
}

/// Active products of which there is nothing in an active store, and for which orders from `since` on were rejected.
async fn in_vain(db: &PgPool, stores: &Stores, since: DateTime<Utc>) -> sqlx::Result<Vec<Concern>> {
    let rejected = Filter {
        stores: stores.as_sql_param(),
        status: Some("REJECTED"),
        since: Some(since),
        ..Filter::default()
    };
    let range = rejected.range(db).await?;
    let lately = queries::ids(db, &rejected, range, false, REJECTIONS).await?;
    let rows = statistics::missing(db, &lately, NAMED).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let orders = if row.times == 1 {
                "order was"
            } else {
                "orders were"
            };
            Concern {
                class: "warn",
                text: format!(
                    "{} is out of stock in {}: {} {orders} rejected for it in the last 24 hours.",
                    row.product_title,
                    row.store_name,
                    count(row.times)
                ),
                link: format!("/admin/stock/{}/", row.id),
                label: "Stock",
            }
        })
        .collect())
}
