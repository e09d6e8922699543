//! Classification of database errors by the one list of SQLSTATEs, and replacement of unusable connections.

use std::{
    borrow::Cow,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::{Either, FutureExt as _};
use sqlx::{
    Postgres, Transaction,
    postgres::{PgDatabaseError, PgSeverity},
};
use tokio::time::sleep;
use tokio_util::{future::FutureExt as _, sync::CancellationToken};

const DEADLOCK: &str = "40P01";
const SERIALIZATION_FAILURE: &str = "40001";
const FOREIGN_KEY_VIOLATION: &str = "23503";
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// Usually a statement timeout.
const QUERY_CANCELED: &str = "57014";
/// The server is a standby, or an operator has disabled writes.
const READ_ONLY_TRANSACTION: &str = "25006";
/// The session lacks a prepared statement, because a pooler switched the session.
const NO_SUCH_STATEMENT: &str = "26000";
/// Another client of a pooler has prepared a statement under this name.
const DUPLICATE_STATEMENT: &str = "42P05";

/// Codes or prefixes of errors that the state of PostgreSQL causes, not the statement.
const TRANSIENT: [&str; 14] = [
    // Connection exception, as of a pooler. Rolled back by concurrency, insufficient resources, operator intervention, system
    // error.
    "08",
    "40",
    "53",
    "57",
    "58",
    LOCK_NOT_AVAILABLE,
    READ_ONLY_TRANSACTION,
    NO_SUCH_STATEMENT,
    DUPLICATE_STATEMENT,
    // A missing table, column, function, type or schema. Statements are checked at compile time, so migrations are missing.
    "42P01",
    "42703",
    "42883",
    "42704",
    "3F000",
];

/// Whether a concurrent transaction caused the failure, so that a retry may succeed.
pub(crate) fn is_retryable(error: &sqlx::Error) -> bool {
    is_one_of(error, &[DEADLOCK, SERIALIZATION_FAILURE, FOREIGN_KEY_VIOLATION])
}

/// Whether a statement exceeded the lock timeout.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, LOCK_NOT_AVAILABLE)
}

/// Whether a statement timed out, usually waiting for a lock.
pub(crate) fn waited(error: &sqlx::Error) -> bool {
    is_one_of(error, &[LOCK_NOT_AVAILABLE, QUERY_CANCELED])
}

/// Whether PostgreSQL refused a statement, so that its transaction had no effect. False if the connection or the server
/// ended: that can happen during a commit that is durable all the same.
pub(crate) fn is_server_error(error: &sqlx::Error) -> bool {
    let continues = pg_error(error).is_some_and(|error| error.severity() == PgSeverity::Error);
    continues && !is_one_of(error, &["57P", "08"])
}

/// Whether a pooler mixes up the prepared statements of its clients.
pub(super) fn has_wrong_statement(error: &sqlx::Error) -> bool {
    is_one_of(error, &[NO_SUCH_STATEMENT, DUPLICATE_STATEMENT])
}

/// Commits a transaction. If the connection is lost meanwhile, the outcome is unknown: see [`is_lost_commit`].
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
#[error("the connection was lost during the commit")]
struct LostCommit(#[source] sqlx::Error);

/// Whether the outcome of a commit is unknown. After any other error nothing was committed.
pub(crate) fn is_lost_commit(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else {
        return false;
    };
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<LostCommit>)
}

/// Whether an error has this SQLSTATE.
pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    sqlstate(error).is_some_and(|state| state == code)
}

/// Whether the state of PostgreSQL caused the error, so that a later retry may succeed.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut) || is_one_of(error, &TRANSIENT) || is_unfit(error)
}

/// Whether the connection caused the error, so that another connection may succeed: the statement was prepared before a
/// migration, or the server is read-only. Nothing was done.
pub(crate) fn is_unfit(error: &sqlx::Error) -> bool {
    is_one_of(error, &[READ_ONLY_TRANSACTION, NO_SUCH_STATEMENT]) || has_stale_plan(error)
}

/// `cached plan must not change result type`. Other errors share its SQLSTATE, and its text may be translated.
fn has_stale_plan(error: &sqlx::Error) -> bool {
    pg_error(error).is_some_and(|error| error.routine() == Some("RevalidateCachedQuery"))
}

fn pg_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

fn sqlstate(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn is_one_of(error: &sqlx::Error, beginnings: &[&str]) -> bool {
    sqlstate(error).is_some_and(|code| beginnings.iter().any(|beginning| code.starts_with(beginning)))
}

/// Connections of this process that were opened before this time are closed instead of reused: if one is unfit, older ones
/// are too.
static REPLACED_BEFORE: Mutex<Option<Instant>> = Mutex::new(None);
/// Minimum time between replacements: if an operator disabled writes, new connections do not help.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// Replaces older connections if an error shows that one is [unfit](is_unfit). Call it for every failed statement.
pub(crate) fn note(error: &sqlx::Error) {
    if !is_unfit(error) {
        return;
    }
    let mut replaced = REPLACED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = replaced.is_none_or(|last| last.elapsed() > REPLACE_EVERY);
    if is_new {
        tracing::warn!(%error, "replacing database connections");
    }
    if is_new || has_stale_plan(error) {
        *replaced = Some(Instant::now());
    }
}

/// Whether a connection of this age must be closed instead of reused.
pub(super) fn is_replaced(age: Duration) -> bool {
    let replaced = REPLACED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    replaced.is_some_and(|before| age >= before.elapsed())
}

/// Ends work when this process connects to another database host.
#[derive(Default)]
struct Switch {
    at_once: CancellationToken,
    after_grace: CancellationToken,
}

static NEXT_SWITCH: LazyLock<Mutex<Switch>> = LazyLock::new(Mutex::default);
/// How long [`until_grace_ends`] lets work go on after a switch.
const GRACE: Duration = Duration::from_secs(1);

fn next_switch() -> MutexGuard<'static, Switch> {
    NEXT_SWITCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces all connections, and ends work in progress: the host before may never answer.
pub(super) fn switch_hosts() {
    *REPLACED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    let switch = std::mem::take(&mut *next_switch());
    switch.at_once.cancel();
    tokio::spawn(async move {
        sleep(GRACE).await;
        switch.after_grace.cancel();
    });
}

/// Whether this process watches several hosts. With one host, no work pays for the tokens.
static WATCHES_HOSTS: AtomicBool = AtomicBool::new(false);

/// Announces that [`switch_hosts`] may be called.
pub(super) fn watch_hosts() {
    WATCHES_HOSTS.store(true, Ordering::Relaxed);
}

/// Runs `work` until this process connects to another database host. Returns none if that ended it.
pub(crate) fn until_switched<F: Future>(work: F) -> impl Future<Output = Option<F::Output>> {
    until(|switch| &switch.at_once, work)
}

/// As [`until_switched`], with a second to finish: work that only waits for a connection gets one of the new host.
pub(crate) fn until_grace_ends<F: Future>(work: F) -> impl Future<Output = Option<F::Output>> {
    until(|switch| &switch.after_grace, work)
}

fn until<F: Future>(
    token: fn(&Switch) -> &CancellationToken,
    work: F,
) -> impl Future<Output = Option<F::Output>> {
    if WATCHES_HOSTS.load(Ordering::Relaxed) {
        let token = token(&next_switch()).clone();
        Either::Left(work.with_cancellation_token_owned(token))
    } else {
        Either::Right(work.map(Some))
    }
}
