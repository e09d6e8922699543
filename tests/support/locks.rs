//! Waits for locks.

use sqlx::PgPool;

/// Counts the statements of this database that wait for a lock. Not for a transaction, in which PostgreSQL repeats its first
/// answer.
pub async fn waiting_for_locks(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}
