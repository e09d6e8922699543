//! `/admin/jobs/`: queued, running and failed jobs, and the schedule.
//!
//! PostgreSQL has the pending confirmations and deliveries, Redis the jobs. A page waits for Redis for a limited time, and without
//! it shows the data of PostgreSQL.

mod actions;
mod list;
mod messages;
mod queries;
mod snapshot;

use std::borrow::Borrow;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};

use super::{
    error::ConsoleError,
    form::Form,
    format,
    operator::Operator,
    page::{Frame, render},
    state::Console,
};
use crate::{
    auth::Scope,
    db,
    worker::{COUNTED, Owed, dead_letters::DeadLetter},
};
use snapshot::{Counted, Plan, Snapshot};

const SECTION: &str = "/admin/jobs/";
/// Listed dead letters.
const LETTERS: usize = 50;

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/jobs/", get(overview))
        .route("/admin/jobs/list/", get(list::show))
        .route("/admin/jobs/retry/", post(actions::retry))
        .route("/admin/jobs/retry-all/", post(actions::retry_all))
        .route("/admin/jobs/drop/", get(actions::ask).post(actions::discard))
        .route("/admin/jobs/run/", post(actions::run))
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Page {
    frame: Frame,
    /// Pending rows in PostgreSQL; `None` for operators who are bound to stores.
    owed: Option<Owed>,
    /// Whether Redis answers.
    redis: bool,
    queues: Vec<Counted>,
    plans: Vec<Plan>,
    letters: Vec<DeadLetter>,
    /// The number of dead letters that are not listed.
    more: usize,
    retries: bool,
    rules: bool,
    form: Form,
}

impl Page {
    /// The number of dead letters; a lower bound without Redis.
    fn failed(&self) -> String {
        let letters = self.letters.len() + self.more;
        let dead = i64::try_from(letters).unwrap_or(i64::MAX);
        if self.redis {
            format::count(dead)
        } else {
            format!("≥ {}", format::count(dead))
        }
    }
}

async fn overview(operator: Operator, State(console): State<Console>) -> Result<Response, ConsoleError> {
    let db = &console.app.database.pool;
    let now = db::now(db).await?;
    let scheduled = snapshot::scheduled(db, now).await?;
    let (snapshot, owed) = tokio::join!(
        Snapshot::take(&console.queues, scheduled),
        snapshot::owed(db, &operator)
    );
    let mut letters = messages::visible(db, &operator, snapshot.dead).await?;
    let more = letters.len().saturating_sub(LETTERS);
    letters.truncate(LETTERS);
    Ok(render(&Page {
        frame: Frame::new(&operator, SECTION, "Jobs"),
        owed: owed?,
        redis: snapshot.redis,
        queues: if operator.sees_jobs() {
            snapshot.queues
        } else {
            Vec::new()
        },
        plans: snapshot.plans,
        letters,
        more,
        retries: operator.retries_jobs(),
        rules: operator.rules_jobs(),
        form: Form::of([]),
    }))
}

/// A count, which ends at a limit.
fn counted(rows: impl Borrow<i64>) -> String {
    let rows = *rows.borrow();
    let shown = format::count(rows);
    if rows < COUNTED {
        shown
    } else {
        format!("≥ {shown}")
    }
}

impl Operator {
    /// Whether the operator may retry dead letters.
    fn retries_jobs(&self) -> bool {
        self.may(Scope::OrdersWrite)
    }

    /// Whether the operator sees all jobs.
    pub(super) fn sees_jobs(&self) -> bool {
        self.caller.grant.stores.are_all()
    }

    /// Whether the operator may discard dead letters and start scheduled jobs.
    fn rules_jobs(&self) -> bool {
        self.may(Scope::Admin) && self.sees_jobs()
    }
}

/// The name of a state, and its badge.
fn state(state: apalis_redis_queue::State) -> (&'static str, &'static str) {
    match state {
        apalis_redis_queue::State::Ready => ("Ready", "warn"),
        apalis_redis_queue::State::Delayed => ("Retrying", "bad"),
        apalis_redis_queue::State::Running => ("Running", "warn"),
        apalis_redis_queue::State::Done => ("Done", "good"),
        apalis_redis_queue::State::Dead => ("Failed", "bad"),
    }
}
