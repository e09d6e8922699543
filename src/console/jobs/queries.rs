//! The SQL of the pages of jobs.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::worker::dead_letters::DeadLetterId;

/// Those of some orders that belong to some stores.
pub async fn of_stores(db: impl PgExecutor<'_>, orders: &[i64], stores: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select id from orders where id = any($1) and store_id = any($2)",
        orders,
        stores
    )
    .fetch_all(db)
    .await
}

/// The orders that a dead letter is about; none where there is no such letter, or it is a job, which names rows.
pub async fn orders_of(db: &PgPool, letter: &DeadLetterId) -> sqlx::Result<Vec<i64>> {
    match letter {
        DeadLetterId::Outbox(id) => sqlx::query_scalar!(
            r#"select unnest(order_ids) as "order_id!" from outbox where id = $1 and dead_at is not null"#,
            id
        )
        .fetch_all(db)
        .await,
        DeadLetterId::Delivery(id) => {
            sqlx::query_scalar!(
                "select order_id from delivery where id = $1 and dead_at is not null",
                id
            )
            .fetch_all(db)
            .await
        }
        DeadLetterId::Job { .. } => Ok(Vec::new()),
    }
}

/// The last run that was asked for of each of some schedules: when, and the id of its job.
pub async fn asked_for(
    db: impl PgExecutor<'_>,
    schedules: &[&str],
) -> sqlx::Result<Vec<(String, DateTime<Utc>, String)>> {
    let schedules: Vec<String> = schedules.iter().map(|&name| name.to_owned()).collect();
    sqlx::query!(
        r#"select name as "name!", a.at as "at!", a.after ->> 'job' as "job!"
           from unnest($1::text[]) name cross join lateral (
               select at, after from audit_log
               where subject = 'schedule:' || name and action = 'schedule.run' order by id desc limit 1
           ) a where a.after ->> 'job' is not null"#,
        &schedules
    )
    .map(|row| (row.name, row.at, row.job))
    .fetch_all(db)
    .await
}

/// Something in PostgreSQL that failed and will be tried again.
#[derive(Debug)]
pub struct Failing {
    /// As a dead letter of it would be named.
    pub id: String,
    pub orders: Vec<i64>,
    pub attempts: i32,
    pub error: Option<String>,
    pub due_at: DateTime<Utc>,
}

/// Rows that are looked at for those that failed: the first ones, which have had the time to.
const LOOKED_AT: i64 = 5000;

/// What failed and will be tried again, the next first.
pub async fn failing(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<Failing>> {
    sqlx::query_as!(
        Failing,
        r#"(select 'outbox:' || id as "id!", order_ids as "orders!", handouts as "attempts!", error, due_at as "due_at!"
            from (select * from outbox where dead_at is null order by id limit $2) owed
            where error is not null or handouts > 1)
           union all
           (select 'delivery:' || id, array[order_id], attempts, channel || ': ' || coalesce(error, 'being sent'), due_at
            from (select * from delivery where due_at is not null order by due_at limit $2) owed
            where error is not null or attempts > 1)
           order by 5, 1 limit $1"#,
        limit,
        LOOKED_AT
    )
    .fetch_all(db)
    .await
}
