//! The SQL of the job pages.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::worker::dead_letters::DeadLetterId;

/// The orders among `orders` that belong to one of `stores`.
pub async fn of_stores(db: impl PgExecutor<'_>, orders: &[i64], stores: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select id from orders where id = any($1) and store_id = any($2)",
        orders,
        stores
    )
    .fetch_all(db)
    .await
}

/// The channel of a dead delivery, and the orders of a dead letter. A job, or one that is gone, has neither.
pub async fn about(db: &PgPool, letter: &DeadLetterId) -> sqlx::Result<(Option<String>, Vec<i64>)> {
    match letter {
        DeadLetterId::Outbox(id) => {
            let orders = sqlx::query_scalar!(
                r#"select unnest(order_ids) as "order_id!" from outbox where id = $1 and dead_at is not null"#,
                id
            );
            Ok((None, orders.fetch_all(db).await?))
        }
        DeadLetterId::Delivery(id) => {
            let delivery = sqlx::query!(
                "select channel, order_id from delivery where id = $1 and dead_at is not null",
                id
            );
            let delivery = delivery.fetch_optional(db).await?;
            Ok(delivery.map_or((None, Vec::new()), |row| (Some(row.channel), vec![row.order_id])))
        }
        DeadLetterId::Job { .. } => Ok((None, Vec::new())),
    }
}

/// The last run of each schedule that an operator asked for: its time, and the id of its job.
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

/// A row in PostgreSQL that failed and will be retried.
#[derive(Debug)]
pub struct Failing {
    /// The id that its dead letter would have.
    pub id: String,
    pub orders: Vec<i64>,
    pub attempts: i32,
    pub error: Option<String>,
    pub due_at: DateTime<Utc>,
}

/// Rows that are searched for failures: the oldest, which have had the time to fail.
const LOOKED_AT: i64 = 5000;

/// Rows that failed and will be retried, the next first.
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
