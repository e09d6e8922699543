//! `afforo jobs`: status of jobs; list, retry and drop dead letters.

use std::{fmt::Write as _, process::ExitCode};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Failure, Settings, print};
use crate::{
    db::Database,
    worker::{
        self, Queues,
        dead_letters::{self, DeadLetter, DeadLetterId, Dropped, RetryError},
    },
};
use apalis_redis_queue::{Counts, QueueError};

/// Arguments of `afforo jobs`.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 done, 1 for a failure or an unknown id, 3 if Redis did not answer: then only what PostgreSQL has was shown, retried or dropped."
)]
pub(super) struct Jobs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List dead letters: confirmations, deliveries, and jobs in Redis
    Dead {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retry dead letters
    Retry {
        /// Id as shown by `afforo jobs dead`
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<DeadLetterId>,
        /// All dead letters
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Drop a dead delivery or job. Dead confirmations cannot be dropped
    Drop {
        /// Id as shown by `afforo jobs dead`
        #[arg(value_name = "ID", required = true)]
        ids: Vec<DeadLetterId>,
    },
    /// Count waiting, running and dead jobs
    #[command(visible_alias = "counts")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Redis did not answer, so the output is incomplete.
const WITHOUT_REDIS: u8 = 3;

impl Jobs {
    pub async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        let database = Database::new(settings.database.url()?, 1, 1)?;
        let queues = Queues::new(&settings.redis)?;
        let db = &database.pool;
        let done = match self.command {
            Command::Dead { json } => dead(db, &queues, json).await,
            Command::Retry { ids, all } => retry(db, &queues, &ids, all).await,
            Command::Drop { ids } => discard(db, &queues, &ids).await,
            Command::Status { json } => status(db, &queues, json).await,
        };
        database.close().await;
        done
    }
}

async fn dead(db: &PgPool, queues: &Queues, as_json: bool) -> Result<ExitCode, Failure> {
    let mut letters = dead_letters::in_database(db).await?;
    let (jobs, code) = asked(dead_letters::in_queues(queues).await);
    letters.extend(jobs.unwrap_or_default());
    let mut text = String::new();
    if as_json {
        let letters: Vec<Value> = letters.iter().map(letter_json).collect();
        writeln!(text, "{}", serde_json::to_string_pretty(&letters)?)?;
    } else {
        for letter in &letters {
            writeln!(
                text,
                "{}  since {}  attempts {}  orders {:?}  {}",
                letter.id,
                time(letter.since),
                letter.attempts,
                letter.orders,
                letter.error.escape_debug()
            )?;
        }
        if letters.is_empty() {
            writeln!(text, "no dead letters")?;
        }
    }
    print(text.as_bytes())?;
    Ok(code)
}

async fn retry(db: &PgPool, queues: &Queues, ids: &[DeadLetterId], all: bool) -> Result<ExitCode, Failure> {
    if all {
        let retried = dead_letters::retry_database(db).await?;
        let (jobs, code) = asked(dead_letters::retry_queues(queues).await);
        print(format!("retried: {}\n", retried + jobs.unwrap_or(0)).as_bytes())?;
        return Ok(code);
    }
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        let said = match dead_letters::retry(db, queues, id).await {
            Ok(true) => format!("retried: {id}\n"),
            Ok(false) => {
                code = ExitCode::FAILURE;
                format!("no dead letter: {id}\n")
            }
            Err(RetryError::Queue(error)) => {
                code = asked::<()>(Err(error)).1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        print(said.as_bytes())?;
    }
    Ok(code)
}

async fn discard(db: &PgPool, queues: &Queues, ids: &[DeadLetterId]) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        let said = match dead_letters::discard(db, queues, id).await {
            Ok(Dropped::Dropped) => format!("dropped: {id}\n"),
            Ok(Dropped::Unknown) => {
                code = ExitCode::FAILURE;
                format!("no dead letter: {id}\n")
            }
            Ok(Dropped::Owed) => {
                code = ExitCode::FAILURE;
                format!(
                    "kept: {id} owes orders their confirmation; mend what keeps them from it, and retry\n"
                )
            }
            Err(RetryError::Queue(error)) => {
                code = asked::<()>(Err(error)).1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        print(said.as_bytes())?;
    }
    Ok(code)
}

async fn status(db: &PgPool, queues: &Queues, as_json: bool) -> Result<ExitCode, Failure> {
    let owed = worker::owed(db).await?;
    let (counted, code) = asked(queues.counts().await);
    let counted = counted.unwrap_or_default();
    let text = if as_json {
        let queues: serde_json::Map<String, Value> = counted
            .into_iter()
            .map(|(queue, counts)| (queue, counts_json(counts)))
            .collect();
        let deliveries: serde_json::Map<String, Value> = owed
            .deliveries
            .into_iter()
            .map(|depth| {
                (
                    depth.channel,
                    json!({ "waiting": depth.waiting, "dead": depth.dead }),
                )
            })
            .collect();
        let outbox = json!({
            "rows": owed.outbox.rows, "oldest_seconds": owed.outbox.oldest_seconds, "dead": owed.outbox.dead,
        });
        let status = json!({ "outbox": outbox, "deliveries": deliveries, "queues": queues });
        format!("{}\n", serde_json::to_string_pretty(&status)?)
    } else {
        let outbox = &owed.outbox;
        let mut text = format!(
            "outbox: {} rows, the oldest {:.0} s old, {} dead\n",
            counted_rows(outbox.rows),
            outbox.oldest_seconds,
            counted_rows(outbox.dead)
        );
        for depth in &owed.deliveries {
            writeln!(
                text,
                "deliveries by {}: {} waiting, {} dead",
                depth.channel,
                counted_rows(depth.waiting),
                counted_rows(depth.dead)
            )?;
        }
        for (queue, counts) in counted {
            let Counts {
                ready,
                delayed,
                running,
                dead,
            } = counts;
            writeln!(
                text,
                "queue {queue}: {ready} ready, {delayed} delayed, {running} running, {dead} dead"
            )?;
        }
        text
    };
    print(text.as_bytes())?;
    Ok(code)
}

/// Counting ends somewhere.
fn counted_rows(rows: i64) -> String {
    if rows < worker::COUNTED {
        rows.to_string()
    } else {
        format!("at least {rows}")
    }
}

/// What Redis answered; else it is said that it did not.
fn asked<T>(answer: Result<T, QueueError>) -> (Option<T>, ExitCode) {
    match answer {
        Ok(answer) => (Some(answer), ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("the queues could not be asked: {error}");
            (None, ExitCode::from(WITHOUT_REDIS))
        }
    }
}

fn letter_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id.to_string(),
        "orders": letter.orders,
        "attempts": letter.attempts,
        "error": letter.error,
        "since": time(letter.since),
    })
}

fn counts_json(counts: Counts) -> Value {
    json!({
        "ready": counts.ready, "delayed": counts.delayed, "running": counts.running, "dead": counts.dead,
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
