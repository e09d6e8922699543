//! Gauges of waiting, running and dead work.

use std::time::Duration;

use metrics::gauge;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Queues;
use crate::{db, delivery, outbox};

/// Time between readings.
const READ_EVERY: Duration = Duration::from_secs(5);

/// Counting stops at this number of rows, because counting a long backlog would slow it further.
pub const COUNTED: i64 = 100_000;

/// The age of the oldest row at the last reading.
struct Oldest {
    seconds: f64,
    read: Instant,
}

/// Reads and publishes until `shutdown`. A gauge that cannot be read keeps its last value. Only the age of the oldest row
/// grows on, so that alerts fire for a worker that cannot reach its database.
pub async fn keep_current(db: PgPool, queues: Queues, shutdown: CancellationToken) {
    let mut oldest = Oldest {
        seconds: 0.0,
        read: Instant::now(),
    };
    let publishing = async {
        loop {
            publish(&db, &queues, &mut oldest).await;
            sleep(READ_EVERY).await;
        }
    };
    shutdown.run_until_cancelled(publishing).await;
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
async fn publish(db: &PgPool, queues: &Queues, oldest: &mut Oldest) {
    match db::with_timeout(owed(db)).await {
        Ok(owed) => {
            gauge!("afforo_outbox_rows").set(owed.outbox.rows as f64);
            *oldest = Oldest {
                seconds: owed.outbox.oldest_seconds,
                read: Instant::now(),
            };
            gauge!("afforo_outbox_oldest_seconds").set(oldest.seconds);
            gauge!("afforo_dead_letters", "kind" => "outbox").set(owed.outbox.dead as f64);
            let dead: i64 = owed.deliveries.iter().map(|depth| depth.dead).sum();
            gauge!("afforo_dead_letters", "kind" => "delivery").set(dead as f64);
            for channel in delivery::Channel::ALL {
                let of = |depth: &&delivery::Depth| depth.channel == channel.as_str();
                let waiting = owed.deliveries.iter().find(of).map_or(0, |depth| depth.waiting);
                gauge!("afforo_deliveries_waiting", "channel" => channel.as_str()).set(waiting as f64);
            }
        }
        Err(error) => {
            db::note(&error);
            tracing::debug!(%error, "the outbox could not be measured");
            let by_now = oldest.seconds + oldest.read.elapsed().as_secs_f64();
            gauge!("afforo_outbox_oldest_seconds").set(by_now);
        }
    }
    let Ok(counted) = queues.counts().await else {
        return;
    };
    for (queue, counts) in &counted {
        let states = [
            ("ready", counts.ready),
            ("delayed", counts.delayed),
            ("running", counts.running),
            ("dead", counts.dead),
        ];
        for (state, jobs) in states {
            gauge!("afforo_queue_jobs", "queue" => queue.clone(), "state" => state).set(jobs as f64);
        }
    }
    let dead: u64 = counted.iter().map(|(_, counts)| counts.dead).sum();
    gauge!("afforo_dead_letters", "kind" => "job").set(dead as f64);
}

/// Open confirmations and deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    /// Confirmations.
    pub outbox: outbox::Depth,
    /// Deliveries by channel.
    pub deliveries: Vec<delivery::Depth>,
}

/// Measures the open work, up to [`COUNTED`] rows of each kind.
pub async fn owed(db: &PgPool) -> sqlx::Result<Owed> {
    Ok(Owed {
        outbox: outbox::depth(db, COUNTED).await?,
        deliveries: delivery::depth(db, COUNTED).await?,
    })
}
