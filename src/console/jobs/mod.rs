//! `/admin/jobs/`: what waits, runs, failed and was given up, and what is done at its time.
//!
//! PostgreSQL knows what is owed, Redis has the jobs. A page waits for Redis only so long, and without it shows what
//! PostgreSQL has.

mod actions;
mod letters;
mod list;
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
    query::Query,
    state::Console,
};
use crate::{
    auth::Scope,
    db,
    worker::{COUNTED, Owed},
};
use letters::Letter;
use snapshot::{Counted, Glance, Plan};

const SECTION: &str = "/admin/jobs/";
/// Dead letters that the page shows.
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
    /// What PostgreSQL owes; not for who is bound to stores.
    owed: Option<Owed>,
    /// Whether Redis answers.
    redis: bool,
    queues: Vec<Counted>,
    plans: Vec<Plan>,
    letters: Vec<Letter>,
    /// How many more there are than are shown.
    more: usize,
    retries: bool,
    rules: bool,
    form: Form,
}

impl Page {
    /// How many letters there are that can be known of.
    fn given_up(&self) -> String {
        let letters = self.letters.len() + self.more;
        let dead = i64::try_from(letters).unwrap_or(i64::MAX);
        if self.redis {
            format::count(dead)
        } else {
            format!("≥ {}", format::count(dead))
        }
    }
}

async fn overview(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    let db = &console.app.database.pool;
    let now = db::now(db).await?;
    let scheduled = snapshot::scheduled(db, now).await?;
    let (glance, owed) = tokio::join!(
        Glance::take(&console.queues, scheduled),
        snapshot::owed(db, &operator)
    );
    let mut letters = letters::visible(db, &operator, glance.dead).await?;
    let more = letters.len().saturating_sub(LETTERS);
    letters.truncate(LETTERS);
    Ok(render(&Page {
        frame: Frame::new(&operator, SECTION, "Jobs").after(&query),
        owed: owed?,
        redis: glance.redis,
        queues: if operator.sees_jobs() {
            glance.queues
        } else {
            Vec::new()
        },
        plans: glance.plans,
        letters,
        more,
        retries: operator.retries_jobs(),
        rules: operator.rules_jobs(),
        form: Form::of([]),
    }))
}

/// Counting ends somewhere.
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
    /// Whether the operator may try again what was given up.
    fn retries_jobs(&self) -> bool {
        self.may(Scope::OrdersWrite)
    }

    /// Whether the operator sees jobs whatever they are about.
    pub(super) fn sees_jobs(&self) -> bool {
        self.caller.grant.stores.are_all()
    }

    /// Whether the operator may drop what was given up, and run what is not due.
    fn rules_jobs(&self) -> bool {
        self.may(Scope::Admin) && self.sees_jobs()
    }
}

/// What a state is called.
fn state(state: apalis_redis_queue::State) -> (&'static str, &'static str) {
    match state {
        apalis_redis_queue::State::Ready => ("Waiting", "warn"),
        apalis_redis_queue::State::Delayed => ("Failed, to be tried again", "bad"),
        apalis_redis_queue::State::Running => ("Running", "warn"),
        apalis_redis_queue::State::Done => ("Done", "good"),
        apalis_redis_queue::State::Dead => ("Dead", "bad"),
    }
}
