//! What is done with jobs: tried again, dropped, and run before they are due.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{SECTION, letters};
use crate::{
    audit,
    console::{
        confirm::Confirm, error::ConsoleError, flash, form::Form, operator::Operator, page::Frame,
        query::Query, state::Console,
    },
    db,
    worker::{
        self, BackendError,
        dead_letters::{self, DeadLetterId, Dropped},
    },
};
use apalis_redis_queue::QueueError;

/// The letter that a request names, if the operator may see it.
async fn named(db: &PgPool, operator: &Operator, query: &Query) -> Result<DeadLetterId, ConsoleError> {
    let letter = query.text("letter").parse().map_err(|_| ConsoleError::NotFound)?;
    if letters::is_visible(db, operator, &letter).await? {
        Ok(letter)
    } else {
        Err(ConsoleError::NotFound)
    }
}

pub async fn retry(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.retries_jobs())?;
    let db = &console.app.database.pool;
    let letter = named(db, &operator, &query).await?;
    if !dead_letters::retry(db, &console.queues, &letter).await? {
        return Ok(flash::redirect_with_flash(SECTION, "none"));
    }
    log(db, &operator, "job.retried", Some(letter.to_string()), None).await?;
    Ok(flash::redirect_with_flash(SECTION, "retried"))
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
    let word = match (of_queues, retried) {
        (Err(_), _) => "half-retried",
        (Ok(_), 0) => "none",
        (Ok(_), _) => "all-retried",
    };
    Ok(flash::redirect_with_flash(SECTION, word))
}

pub async fn ask(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.rules_jobs())?;
    let letter = named(&db, &operator, &query).await?;
    Ok(question(&operator, &letter).into_response())
}

fn question(operator: &Operator, letter: &DeadLetterId) -> Confirm {
    let is_owed = matches!(letter, DeadLetterId::Outbox(_));
    let obstacle =
        "It owes orders their confirmation, and stays. Mend what keeps them from it, and try it again.";
    Confirm {
        frame: Frame::new(operator, SECTION, format!("Drop {letter}?")),
        effects: if is_owed {
            Vec::new()
        } else {
            vec!["What it was for will not be done. This cannot be undone.".to_owned()]
        },
        obstacle: if is_owed {
            obstacle.to_owned()
        } else {
            String::new()
        },
        action: format!("{SECTION}drop/{}", Query::default().with("letter", letter)),
        yes: "Drop it",
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
    let letter = named(db, &operator, &query).await?;
    match dead_letters::discard(db, &console.queues, &letter).await? {
        Dropped::Owed => Ok((StatusCode::CONFLICT, question(&operator, &letter)).into_response()),
        Dropped::Unknown => Ok(flash::redirect_with_flash(SECTION, "none")),
        Dropped::Dropped => {
            log(db, &operator, "job.dropped", Some(letter.to_string()), None).await?;
            Ok(flash::redirect_with_flash(SECTION, "dropped"))
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
    Ok(flash::redirect_with_flash(SECTION, "started"))
}

/// Notes what was done. Redis knows of no transaction, so it was done by now.
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
        tracing::warn!(%error, "Redis did not do what an operator asked for");
        let reason = "Redis did not answer, so it is not known whether this was done. Look, and try again.";
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
