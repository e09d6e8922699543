//! `/admin/jobs/list/`: the jobs of a state.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{
    SECTION,
    letters::{self, Letter},
    queries,
    snapshot::answered,
};
use crate::{
    console::{
        error::ConsoleError,
        format,
        operator::Operator,
        page::{Frame, render},
        query::Query,
        state::Console,
    },
    worker::{Queues, dead_letters::DeadLetterId},
};
use apalis_redis_queue::{JobInfo, QueueError, State as JobState};

/// Jobs of a queue that are listed.
const LISTED: usize = 100;

/// The states that are listed, what they are called, and what stands in the column of the time.
const STATES: [(&str, &str, JobState, &str); 5] = [
    ("ready", "Ready", JobState::Ready, ""),
    ("delayed", "Delayed and failed", JobState::Delayed, "Next try"),
    ("running", "Running", JobState::Running, "Lease ends"),
    ("done", "Done", JobState::Done, "Done"),
    ("dead", "Dead", JobState::Dead, "Died"),
];

/// A job, wherever it is kept.
#[derive(Debug)]
struct Row {
    id: String,
    about: String,
    attempts: String,
    error: String,
    at: Option<DateTime<Utc>>,
    /// How a form names it that tries it again; blank where it is not dead.
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
    /// The states, each with its link and whether it is the one that is shown.
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
        JobState::Dead if queue.is_none() => query.rows(given_up(db, &operator)).await?,
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
            JobState::Dead => letters::query(&DeadLetterId::Job {
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

/// What failed in PostgreSQL and is due again: the pauses between attempts to deliver are kept there.
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

/// What PostgreSQL has of what was given up.
async fn given_up(db: &PgPool, operator: &Operator) -> sqlx::Result<Vec<Row>> {
    let letters = letters::visible(db, operator, Vec::new()).await?;
    let row = |letter: Letter| Row {
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
