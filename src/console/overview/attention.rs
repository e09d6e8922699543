//! What needs attention: failed jobs, late confirmations, an absent Redis, and stock that is out or low.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::statistics;
use crate::{
    auth::Stores,
    console::{
        confirm::plural,
        format::count,
        low::{LowStock, OfStore},
        orders::queries::{self, Filter},
    },
    db::ReadPool,
    worker::{Owed, Queues},
};
use apalis_redis_queue::Counts;

/// How long the page waits for Redis.
const REDIS_WITHIN: Duration = Duration::from_secs(1);
/// A confirmation that is pending for longer is late.
const LATE: f64 = 60.0;
/// A confirmation that is pending for longer while no job runs lacks a worker.
const IDLE: f64 = 15.0;
/// Searched rejections, the latest ones.
const REJECTIONS: i64 = 500;
/// Listed products, at most.
const NAMED: i64 = 5;

/// The numbers of jobs in the queues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jobs {
    /// Ready or delayed.
    pub waiting: u64,
    /// With a worker.
    pub running: u64,
    /// Failed for good.
    pub dead: u64,
}

/// Something that needs attention.
#[derive(Debug)]
pub struct Concern {
    /// `bad` or `warn`.
    pub class: &'static str,
    /// A sentence.
    pub text: String,
    /// Where the operator can act.
    pub link: String,
    /// The text of the link.
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

/// Everything that needs attention, urgent first.
pub async fn concerns(
    db: &ReadPool,
    jobs: Option<&(Option<Jobs>, Owed)>,
    low: &LowStock,
    stores: &Stores,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Concern>> {
    let mut concerns = jobs.map_or_else(Vec::new, |(jobs, owed)| of_jobs(*jobs, owed));
    concerns.extend(of_stock(low));
    concerns.extend(in_vain(db, stores, since).await?);
    // It is stable: within a class they stay as they are.
    concerns.sort_by_key(|concern| concern.class != "bad");
    Ok(concerns)
}

/// The figures of the tiles about stock, in sentences.
fn of_stock(low: &LowStock) -> Vec<Concern> {
    let more = if low.is_cut_off { "+" } else { "" };
    let concern = |of: fn(&OfStore) -> i64, class, what: &str, state| {
        let rows: i64 = low.stores.iter().map(of).sum();
        let stores = low.stores.iter().filter(|store| of(store) > 0).count();
        let is = if rows == 1 { "product is" } else { "products are" };
        let stores = plural(i64::try_from(stores).unwrap_or(i64::MAX), "store", "stores");
        (rows > 0).then(|| Concern {
            class,
            text: format!("{}{more} {is} {what} in {stores}.", count(rows)),
            link: format!("/admin/stock/?state={state}"),
            label: "View stock",
        })
    };
    let out = concern(|store| store.out, "bad", "out of stock", "out");
    let low = concern(|store| store.low - store.out, "warn", "low", "low");
    out.into_iter().chain(low).collect()
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
        let text = "Redis does not answer. Confirmations wait for it.".to_owned();
        concerns.push(concern("bad", text, "/admin/system/", "System"));
    }
    if jobs.is_some_and(|jobs| jobs.running == 0) && owed.outbox.rows > 0 && oldest > IDLE {
        let text = format!(
            "No worker is running: confirmations have been pending for {}.",
            spell(oldest)
        );
        concerns.push(concern("bad", text, "/admin/jobs/", "Jobs"));
    } else if oldest > LATE {
        let text = format!(
            "Confirmations are late: the oldest has been pending for {}.",
            spell(oldest)
        );
        concerns.push(concern("warn", text, "/admin/jobs/", "Jobs"));
    }
    let queued = jobs.map_or(0, |jobs| i64::try_from(jobs.dead).unwrap_or(i64::MAX));
    let mut failed = vec![
        (queued, "job", "jobs"),
        (owed.outbox.dead, "order confirmation", "order confirmations"),
    ];
    failed.extend(owed.deliveries.iter().map(|depth| match depth.channel.as_str() {
        "email" => (depth.dead, "email delivery", "email deliveries"),
        _ => (depth.dead, "webhook delivery", "webhook deliveries"),
    }));
    for (number, one, many) in failed.into_iter().filter(|(number, ..)| *number > 0) {
        let text = format!("{} failed.", plural(number, one, many));
        concerns.push(concern("bad", text, "/admin/jobs/#letters", "Review"));
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

/// Active products that are out of stock in an active store, and for which orders since `since` were rejected.
async fn in_vain(db: &ReadPool, stores: &Stores, since: DateTime<Utc>) -> sqlx::Result<Vec<Concern>> {
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
                label: "View stock",
            }
        })
        .collect())
}
