//! Actions on jobs: retry, discard, and run before the time.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{SECTION, messages};
use crate::{
    audit,
    console::{
        confirm::{Confirm, plural},
        error::ConsoleError,
        flash,
        form::Form,
        operator::Operator,
        page::Frame,
        query::Query,
        state::Console,
    },
    db,
    worker::{
        self, BackendError,
        dead_letters::{self, DeadLetterId, Dropped},
    },
};
use apalis_redis_queue::QueueError;

const GONE: &str = "This job is no longer among the failed ones.";

/// The dead letter of a request and what it is called, if the operator may see it.
async fn named(
    db: &PgPool,
    operator: &Operator,
    query: &Query,
) -> Result<(DeadLetterId, String), ConsoleError> {
    let letter = query.text("letter").parse().map_err(|_| ConsoleError::NotFound)?;
    let name = messages::name(db, operator, &letter).await?;
    Ok((letter, name.ok_or(ConsoleError::NotFound)?))
}

/// A sentence begins with a capital.
fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

pub async fn retry(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.retries_jobs())?;
    let db = &console.app.database.pool;
    let (letter, name) = named(db, &operator, &query).await?;
    if !dead_letters::retry(db, &console.queues, &letter).await? {
        return Ok(flash::redirect_with_warning(SECTION, GONE));
    }
    log(db, &operator, "job.retried", Some(letter.to_string()), None).await?;
    Ok(flash::redirect_with_flash(
        SECTION,
        format!("{} will be retried.", capitalized(&name)),
    ))
}

pub async fn retry_all(operator: Operator, State(console): State<Console>) -> Result<Response, ConsoleError> {
    operator.require(operator.retries_jobs() && operator.sees_jobs())?;
    let db = &console.app.database.pool;
    let of_database = dead_letters::retry_database(db).await?;
    let of_queues = dead_letters::retry_queues(&console.queues).await;
    let retried = of_database + *of_queues.as_ref().unwrap_or(&0);
    if retried > 0 {
        log(
            db,
            &operator,
            "job.retried",
            None,
            Some(json!({ "letters": retried })),
        )
        .await?;
    }
    let jobs = plural(i64::try_from(retried).unwrap_or(i64::MAX), "job", "jobs");
    Ok(match (of_queues, retried) {
        (Err(_), _) => flash::redirect_with_warning(
            SECTION,
            format!(
                "{jobs} in PostgreSQL will be retried. Redis did not answer: its failed jobs may be unchanged."
            ),
        ),
        (Ok(_), 0) => flash::redirect_with_warning(SECTION, "There was nothing to retry."),
        (Ok(_), _) => flash::redirect_with_flash(SECTION, format!("{jobs} will be retried.")),
    })
}

pub async fn ask(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.rules_jobs())?;
    let (letter, name) = named(&db, &operator, &query).await?;
    Ok(question(&operator, &letter, &name).into_response())
}

fn question(operator: &Operator, letter: &DeadLetterId, name: &str) -> Confirm {
    let (effect, obstacle) = match letter {
        DeadLetterId::Outbox(_) => (
            "",
            "Orders need their confirmation, so it can't be discarded. Fix the cause, then retry it.",
        ),
        DeadLetterId::Delivery(_) => ("The receiver will not be notified. This cannot be undone.", ""),
        DeadLetterId::Job { .. } => ("The job will not be done. This cannot be undone.", ""),
    };
    Confirm {
        frame: Frame::new(operator, SECTION, format!("Discard the {name}?")),
        effects: vec![effect.to_owned()],
        obstacle: obstacle.to_owned(),
        action: format!("{SECTION}drop/{}", messages::query(letter)),
        yes: "Discard",
        back: SECTION.to_owned(),
        instead: None,
        form: Form::of([]),
    }
}

pub async fn discard(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.rules_jobs())?;
    let db = &console.app.database.pool;
    let (letter, name) = named(db, &operator, &query).await?;
    match dead_letters::discard(db, &console.queues, &letter).await? {
        Dropped::Owed => Ok((StatusCode::CONFLICT, question(&operator, &letter, &name)).into_response()),
        Dropped::Unknown => Ok(flash::redirect_with_warning(SECTION, GONE)),
        Dropped::Dropped => {
            log(db, &operator, "job.dropped", Some(letter.to_string()), None).await?;
            Ok(flash::redirect_with_flash(
                SECTION,
                format!("{} discarded.", capitalized(&name)),
            ))
        }
    }
}

pub async fn run(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.rules_jobs())?;
    let (db, name) = (&console.app.database.pool, query.text("schedule"));
    let now = db::now(db).await?;
    let queued = worker::run_now(&console.queues, name, form.key(), now).await?;
    let Some(id) = queued else {
        return Err(ConsoleError::NotFound);
    };
    let subject = Some(format!("schedule:{name}"));
    log(db, &operator, "schedule.run", subject, Some(json!({ "job": id }))).await?;
    let done = format!("A run of {name} is queued. It starts as soon as a worker is free.");
    Ok(flash::redirect_with_flash(SECTION, done))
}

/// Records an action after it was done: Redis has no part in the transaction.
async fn log(
    db: &PgPool,
    operator: &Operator,
    action: &'static str,
    subject: Option<String>,
    after: Option<Value>,
) -> sqlx::Result<()> {
    let by = operator.caller.audit_context();
    audit::record(db, &by, action, subject, (None, after.as_ref())).await
}

impl From<QueueError> for ConsoleError {
    fn from(error: QueueError) -> Self {
        tracing::warn!(%error, "Redis failed during an action of an operator");
        let reason =
            "Redis did not answer, so it is not known whether this was done. Check the list before retrying.";
        Self::Api(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
    }
}

impl From<BackendError> for ConsoleError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Database(error) => error.into(),
            BackendError::Queue(error) => error.into(),
        }
    }
}
