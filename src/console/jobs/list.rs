//! `/admin/jobs/list/`: the jobs of a state.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{SECTION, messages, queries, snapshot::answered};
use crate::{
    console::{
        error::ConsoleError,
        format,
        operator::Operator,
        page::{Frame, render},
        query::Query,
        state::Console,
    },
    worker::{
        Queues,
        dead_letters::{DeadLetter, DeadLetterId},
    },
};
use apalis_redis_queue::{JobInfo, QueueError, State as JobState};

/// Listed jobs of a queue.
const LISTED: usize = 100;

/// The states, their names, and the heading of the time column.
const STATES: [(&str, &str, JobState, &str); 5] = [
    ("ready", "Ready", JobState::Ready, ""),
    ("delayed", "Retrying", JobState::Delayed, "Next attempt"),
    ("running", "Running", JobState::Running, "Lease ends"),
    ("done", "Done", JobState::Done, "Finished"),
    ("dead", "Failed", JobState::Dead, "Failed"),
];

/// A job in Redis, or a row in PostgreSQL.
#[derive(Debug)]
struct Row {
    id: String,
    about: String,
    attempts: String,
    error: String,
    at: Option<DateTime<Utc>>,
    /// The query of the form that retries it; blank unless it is dead.
    letter: String,
}

#[derive(Template)]
#[template(path = "jobs_list.html")]
struct List {
    frame: Frame,
    query: Query,
    state: &'static str,
    moment: &'static str,
    queues: Vec<String>,
    rows: Vec<Row>,
    redis: bool,
    retries: bool,
}

impl List {
    /// The states, each with its link and whether it is the current one.
    fn tabs(&self) -> Vec<(&'static str, String, bool)> {
        let tab = |(word, name, _, _): (&'static str, _, _, _)| {
            (name, self.query.with("state", word), word == self.state)
        };
        STATES.map(tab).to_vec()
    }
}

pub async fn show(
    operator: Operator,
    mut query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.sees_jobs())?;
    let asked = query.read_choice("state", &STATES.map(|state| (state.0, state)));
    let (word, name, state, moment) = asked.unwrap_or(STATES[0]);
    let queues = console.queues.all();
    let names: Vec<_> = queues.iter().map(|queue| (queue.name(), queue.name())).collect();
    let queue = query.read_choice("queue", &names);
    let db = &console.app.database.pool;
    let mut rows = match state {
        JobState::Delayed if queue.is_none() => query.rows(in_database(db)).await?,
        JobState::Dead if queue.is_none() => query.rows(failed(db, &operator)).await?,
        _ => Vec::new(),
    };
    let jobs = Box::pin(answered(in_queues(&console.queues, state, queue))).await;
    let redis = jobs.is_some();
    rows.extend(jobs.filter(|_| !query.has_errors()).unwrap_or_default());
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, format!("Jobs: {}", name.to_lowercase())),
        state: word,
        moment,
        queues: names.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows,
        redis,
        retries: operator.retries_jobs() && state == JobState::Dead,
        query,
    }))
}

async fn in_queues(queues: &Queues, state: JobState, only: Option<&str>) -> Result<Vec<Row>, QueueError> {
    let mut rows = Vec::new();
    for queue in queues.all() {
        if only.is_some_and(|only| only != queue.name()) {
            continue;
        }
        let letter = |job: &JobInfo| match state {
            JobState::Dead => messages::query(&DeadLetterId::Job {
                queue: queue.name().to_owned(),
                id: job.id.clone(),
            }),
            _ => String::new(),
        };
        let row = |job: JobInfo| Row {
            letter: letter(&job),
            id: format!("{}:{}", queue.name(), job.id),
            about: job.payload.unwrap_or_default(),
            attempts: format!("{} of {}", job.attempts, job.max_attempts),
            error: job.error.unwrap_or_default(),
            at: job.at,
        };
        rows.extend(queue.jobs(state, LISTED).await?.into_iter().map(row));
    }
    Ok(rows)
}

/// Rows in PostgreSQL that failed and wait for their next attempt.
async fn in_database(db: &PgPool) -> sqlx::Result<Vec<Row>> {
    let limit = i64::try_from(LISTED).unwrap_or(i64::MAX);
    let row = |failing: queries::Failing| Row {
        about: about(&failing.orders),
        id: failing.id,
        attempts: failing.attempts.to_string(),
        error: failing.error.unwrap_or_default(),
        at: Some(failing.due_at),
        letter: String::new(),
    };
    Ok(queries::failing(db, limit).await?.into_iter().map(row).collect())
}

/// Dead letters in PostgreSQL.
async fn failed(db: &PgPool, operator: &Operator) -> sqlx::Result<Vec<Row>> {
    let letters = messages::visible(db, operator, Vec::new()).await?;
    let row = |letter: DeadLetter| Row {
        letter: letter.query(),
        id: letter.id.to_string(),
        about: about(&letter.orders),
        attempts: letter.attempts.to_string(),
        error: letter.error,
        at: Some(letter.since),
    };
    Ok(letters.into_iter().take(LISTED).map(row).collect())
}

fn about(orders: &[i64]) -> String {
    match orders {
        [order] => format!("order {order}"),
        [first, ..] => format!("order {first} and {} more", orders.len() - 1),
        [] => String::new(),
    }
}
