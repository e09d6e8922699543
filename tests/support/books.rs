//! The rules of `afforo check`, which orders, stock and ledger keep after every test.

use sqlx::{Connection, PgConnection, PgPool};

use super::{app, program::eventually};

/// Asserts all rules for orders, stock and ledger.
pub async fn books_balance(pool: &PgPool) {
    assert_eq!(app::unbalanced(pool).await, []);
}

/// Asserts that a database had no deadlock. Ends all its connections first, because they report statistics at their end.
pub async fn no_deadlocks(url: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    eventually("all others are gone", async || {
        let others: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        others == 0
    })
    .await;
    let deadlocks: i64 =
        sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert_eq!(deadlocks, 0);
}
