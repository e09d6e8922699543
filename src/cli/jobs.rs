//! `afforo jobs`: status of jobs; list, retry and drop dead letters.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Failure, Settings, print};
use crate::{
    db::Database,
    worker::{
        self, BackendError, Owed, Queues,
        dead_letters::{self, DeadLetter, DeadLetterId, Dropped},
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
        database.hosts.asked().await;
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
    each(ids, async |id| {
        let retried = dead_letters::retry(db, queues, id).await?;
        Ok(if retried {
            Ok(format!("retried: {id}"))
        } else {
            Err(unknown(id))
        })
    })
    .await
}

async fn discard(db: &PgPool, queues: &Queues, ids: &[DeadLetterId]) -> Result<ExitCode, Failure> {
    each(ids, async |id| {
        Ok(match dead_letters::discard(db, queues, id).await? {
            Dropped::Dropped => Ok(format!("dropped: {id}")),
            Dropped::Unknown => Err(unknown(id)),
            Dropped::Owed => Err(format!(
                "kept: {id} has orders without a confirmation: remove the cause of the failure, then retry it"
            )),
        })
    })
    .await
}

/// Prints what `operation` did with each dead letter, or why it refused. Goes on with the others after a refusal, and if
/// Redis does not answer.
async fn each(
    ids: &[DeadLetterId],
    operation: impl AsyncFn(&DeadLetterId) -> Result<Result<String, String>, BackendError>,
) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        let line = match operation(id).await {
            Ok(Ok(done)) => done,
            Ok(Err(refusal)) => {
                code = ExitCode::FAILURE;
                refusal
            }
            Err(BackendError::Queue(error)) => {
                code = without_redis(&error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        print(format!("{line}\n").as_bytes())?;
    }
    Ok(code)
}

fn unknown(id: &DeadLetterId) -> String {
    format!("no dead letter: {id}")
}

async fn status(db: &PgPool, queues: &Queues, as_json: bool) -> Result<ExitCode, Failure> {
    let owed = worker::owed(db).await?;
    let (counted, code) = asked(queues.counts().await);
    let counted = counted.unwrap_or_default();
    let text = if as_json {
        status_json(&owed, counted)?
    } else {
        status_text(&owed, &counted)?
    };
    print(text.as_bytes())?;
    Ok(code)
}

fn status_json(owed: &Owed, counted: Vec<(String, Counts)>) -> Result<String, Failure> {
    let queues: BTreeMap<String, Counts> = counted.into_iter().collect();
    let deliveries: BTreeMap<&str, Value> = owed
        .deliveries
        .iter()
        .map(|depth| {
            (
                &*depth.channel,
                json!({ "waiting": depth.waiting, "dead": depth.dead }),
            )
        })
        .collect();
    let status = json!({ "outbox": owed.outbox, "deliveries": deliveries, "queues": queues });
    Ok(format!("{}\n", serde_json::to_string_pretty(&status)?))
}

fn status_text(owed: &Owed, counted: &[(String, Counts)]) -> Result<String, Failure> {
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
        writeln!(
            text,
            "queue {queue}: {} ready, {} delayed, {} running, {} dead",
            counts.ready, counts.delayed, counts.running, counts.dead
        )?;
    }
    Ok(text)
}

/// Counting stops at a limit.
fn counted_rows(rows: i64) -> String {
    if rows < worker::COUNTED {
        rows.to_string()
    } else {
        format!("at least {rows}")
    }
}

/// The answer of Redis. Without one, prints the error.
fn asked<T>(answer: Result<T, QueueError>) -> (Option<T>, ExitCode) {
    match answer {
        Ok(answer) => (Some(answer), ExitCode::SUCCESS),
        Err(error) => (None, without_redis(&error)),
    }
}

fn without_redis(error: &QueueError) -> ExitCode {
    eprintln!("the queues could not be asked: {error}");
    ExitCode::from(WITHOUT_REDIS)
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

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
