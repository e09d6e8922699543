//! What a failed statement tells of the database: the one list of SQLSTATEs, and connections that are of no use any more.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{
    Postgres, Transaction,
    postgres::{PgDatabaseError, PgSeverity},
};

const DEADLOCK: &str = "40P01";
const SERIALIZATION_FAILURE: &str = "40001";
const FOREIGN_KEY_VIOLATION: &str = "23503";
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// A statement timeout, as a rule.
const QUERY_CANCELED: &str = "57014";
/// The server is a standby, or an operator has forbidden writes.
const READ_ONLY_TRANSACTION: &str = "25006";
/// The session does not know a statement that was prepared: a pooler has changed the session.
const NO_SUCH_STATEMENT: &str = "26000";

/// Codes, or the classes that they begin with, of failures that are due to the state that PostgreSQL is in, and not to what a
/// statement says.
const PASSING: [&str; 12] = [
    // Transactions that others rolled back, no resources, an operator's intervention, the system.
    "40",
    "53",
    "57",
    "58",
    LOCK_NOT_AVAILABLE,
    READ_ONLY_TRANSACTION,
    NO_SUCH_STATEMENT,
    // The schema lacks a table, a column, a function, a type or a schema. Statements were checked when they were compiled, so
    // the schema is not that of this program: migrations are missing.
    "42P01",
    "42703",
    "42883",
    "42704",
    "3F000",
];

/// Whether a transaction failed for others that ran beside it, so that it may do better another time.
pub(crate) fn is_retryable(error: &sqlx::Error) -> bool {
    is_one_of(error, &[DEADLOCK, SERIALIZATION_FAILURE, FOREIGN_KEY_VIOLATION])
}

/// Whether a statement waited for a lock for too long.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, LOCK_NOT_AVAILABLE)
}

/// Whether a statement was ended because it took too long: it waited for a lock, as a rule.
pub(crate) fn waited(error: &sqlx::Error) -> bool {
    is_one_of(error, &[LOCK_NOT_AVAILABLE, QUERY_CANCELED])
}

/// Whether PostgreSQL has refused a statement, so that it and its transaction had no effect. Not if the connection ended,
/// or the whole server, which it may say in the middle of a commit: the commit may stand all the same.
pub(crate) fn is_server_error(error: &sqlx::Error) -> bool {
    let goes_on = said(error).is_some_and(|said| said.severity() == PgSeverity::Error);
    goes_on && !is_one_of(error, &["57P", "08"])
}

/// Commits a transaction. If the connection is lost meanwhile, the commit may have been made: the error [says so](is_lost_commit).
pub(crate) async fn commit(tx: Transaction<'_, Postgres>) -> sqlx::Result<()> {
    tx.commit().await.map_err(|error| {
        if is_server_error(&error) {
            error
        } else {
            sqlx::Error::Io(std::io::Error::other(LostCommit(error)))
        }
    })
}

#[derive(Debug, thiserror::Error)]
#[error("the connection was lost in the moment of the commit")]
struct LostCommit(#[source] sqlx::Error);

/// Whether a commit may have been made or not. After any other error nothing was done.
pub(crate) fn is_lost_commit(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else {
        return false;
    };
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<LostCommit>)
}

/// Whether a statement was refused with this SQLSTATE.
pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    sqlstate(error).is_some_and(|said| said == code)
}

/// Whether a statement failed for the state that PostgreSQL is in, and not for what it says: it may do better another time.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut) || is_one_of(error, &PASSING) || is_unfit(error)
}

/// Whether PostgreSQL refused a statement for the connection that it came by, so that another connection may do better: the
/// statement was prepared before a migration, or the server takes no writes. Nothing was done.
pub(crate) fn is_unfit(error: &sqlx::Error) -> bool {
    is_one_of(error, &[READ_ONLY_TRANSACTION, NO_SUCH_STATEMENT]) || has_stale_plan(error)
}

/// `cached plan must not change result type`: of its SQLSTATE there are others, and its text may be in any language.
fn has_stale_plan(error: &sqlx::Error) -> bool {
    said(error).is_some_and(|said| said.routine() == Some("RevalidateCachedQuery"))
}

fn said(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

fn sqlstate(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn is_one_of(error: &sqlx::Error, beginnings: &[&str]) -> bool {
    sqlstate(error).is_some_and(|code| beginnings.iter().any(|beginning| code.starts_with(beginning)))
}

/// Connections that were opened before this are closed instead of being used again, in all pools of this process: where one
/// is unfit, those opened before it failed are as well.
static REPLACED_BEFORE: Mutex<Option<Instant>> = Mutex::new(None);
/// Where an operator has forbidden writes, new connections do no better: they are not replaced more often than this.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// Has connections replaced if one of them turned out to be [unfit](is_unfit). To be told of every failed statement.
pub(crate) fn note(error: &sqlx::Error) {
    if !is_unfit(error) {
        return;
    }
    let mut replaced = REPLACED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = replaced.is_none_or(|last| last.elapsed() > REPLACE_EVERY);
    if is_new {
        tracing::warn!(%error, "connections to the database are replaced");
    }
    if is_new || has_stale_plan(error) {
        *replaced = Some(Instant::now());
    }
}

/// Whether a connection of this age is to be closed instead of being used again.
pub(super) fn is_replaced(age: Duration) -> bool {
    let replaced = REPLACED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    replaced.is_some_and(|before| age >= before.elapsed())
}
