//! Which ids the rows of a time may have. Pages are read by id, and ids follow the time, nearly always: halving finds where
//! a time begins, through the index of the ids alone.
//!
//! That is a hint. Clocks are set back, orders are imported, demo data is made for the past. So each bound is proven by an
//! index that knows, for every few pages of the table, which times and ids they hold. Where a bound does not hold there is
//! none: the page takes longer, and has all of its rows.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgPool, QueryBuilder};

/// What is written at the same time may be a little out of order; a bound that allows for it still holds.
const OUT_OF_ORDER: TimeDelta = TimeDelta::minutes(10);

/// A table whose rows are numbered as they are written.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    /// Orders, by when they were placed.
    Orders,
    /// The audit log.
    AuditLog,
}

impl Table {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Orders => ("orders", "created_at"),
            Self::AuditLog => ("audit_log", "at"),
        }
    }
}

/// The first and the last id that rows may have whose time is `from` or later, and before `until`.
pub async fn ids(
    db: &PgPool,
    table: Table,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> sqlx::Result<(i64, i64)> {
    let (mut first, mut last) = (1, i64::MAX);
    if let Some(from) = from {
        let hint = first_since(db, table, from - OUT_OF_ORDER).await?;
        if has_none(db, table, (" >= ", from), (" < ", hint)).await? {
            first = hint;
        }
    }
    if let Some(until) = until {
        let hint = first_since(db, table, until + OUT_OF_ORDER).await?;
        if has_none(db, table, (" < ", until), (" >= ", hint)).await? {
            last = hint - 1;
        }
    }
    Ok((first, last))
}

/// The id from which on rows were written since a moment, if ids follow the time.
async fn first_since(db: &PgPool, table: Table, moment: DateTime<Utc>) -> sqlx::Result<i64> {
    macro_rules! halve {
        ($table:literal, $time:literal) => {
            sqlx::query_scalar!(
                r#"with recursive search as (
                       select coalesce(min(id), 1) as low, coalesce(max(id), 0) + 1 as high from "#
                    + $table
                    + r#"
                       union all
                       select case when probe.time < $1 then probe.id + 1 else low end,
                           case when probe.time < $1 then high else (low + high) / 2 end
                       from search cross join lateral (
                           select id, "#
                    + $time
                    + r#" as time from "#
                    + $table
                    + r#"
                           where id >= (low + high) / 2 order by id limit 1
                       ) as probe where low < high
                   )
                   select max(low) as "id!" from search"#,
                moment
            )
            .fetch_one(db)
            .await
        };
    }
    match table {
        Table::Orders => halve!("orders", "created_at"),
        Table::AuditLog => halve!("audit_log", "at"),
    }
}

/// Whether no row has such a time and such an id. Rows are counted, not looked for: for a row that it expects to find soon,
/// PostgreSQL would walk through the ids, and to the end of them if there is none.
async fn has_none(
    db: &PgPool,
    table: Table,
    (is_of, moment): (&'static str, DateTime<Utc>),
    (is_beyond, id): (&'static str, i64),
) -> sqlx::Result<bool> {
    let (table, time) = table.names();
    let mut query = QueryBuilder::new("select count(*) from ");
    query
        .push(table)
        .push(" where ")
        .push(time)
        .push(is_of)
        .push_bind(moment);
    query.push(" and id").push(is_beyond).push_bind(id);
    // Planned for these values: a plan for any would read the whole table.
    let rows: i64 = query.build_query_scalar().persistent(false).fetch_one(db).await?;
    Ok(rows == 0)
}
