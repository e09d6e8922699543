//! The ids that the rows of a time may have. Pages are read by id, and ids nearly always follow the time: a binary search
//! through the index of ids finds where a time begins.
//!
//! The result is a hint: clocks are set back, orders are imported, demo data is created for the past. A BRIN index, which
//! knows the times and ids of every few pages of the table, proves each bound. A bound that does not hold is dropped: the
//! page takes longer, and has all of its rows.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use sqlx::{Postgres, QueryBuilder};

use crate::db::ReadPool;

/// How far concurrent writes may be out of order: bounds allow for it.
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

/// The first and the last of some days in UTC, as far as they are given.
pub type Days = (Option<NaiveDate>, Option<NaiveDate>);

/// The ids and times that the rows of a list may have.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    table: Table,
    first: i64,
    last: i64,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl Range {
    /// The rows of some days, none from before `since`.
    pub async fn of(
        db: &ReadPool,
        table: Table,
        (from, to): Days,
        since: Option<DateTime<Utc>>,
    ) -> sqlx::Result<Self> {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let from = from.map(midnight).max(since);
        let until = to.and_then(|day| day.succ_opt()).map(midnight);
        Self::between(db, table, from, until).await
    }

    /// The rows whose time is `from` or later, and before `until`.
    pub async fn between(
        db: &ReadPool,
        table: Table,
        from: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
    ) -> sqlx::Result<Self> {
        let (first, last) = ids(db, table, from, until).await?;
        Ok(Self {
            table,
            first,
            last,
            from,
            until,
        })
    }

    /// The rows from `id` on, in the direction of the list.
    pub fn starting(mut self, id: Option<i64>, oldest_first: bool) -> Self {
        match id {
            Some(id) if oldest_first => self.first = self.first.max(id),
            Some(id) => self.last = self.last.min(id),
            None => {}
        }
        self
    }

    /// The rows before `id`, in the direction of the list.
    pub fn before(self, id: i64, oldest_first: bool) -> Self {
        self.after(id, !oldest_first)
    }

    /// The rows after `id`, in the direction of the list.
    pub fn after(mut self, id: i64, oldest_first: bool) -> Self {
        if oldest_first {
            self.first = self.first.max(id.saturating_add(1));
        } else {
            self.last = self.last.min(id.saturating_sub(1));
        }
        self
    }

    /// The first and the last id.
    pub fn ids(&self) -> (i64, i64) {
        (self.first, self.last)
    }

    /// Adds the conditions to a statement. `alias` stands before the columns, as in `o.`.
    pub fn push(&self, query: &mut QueryBuilder<Postgres>, alias: &str) {
        let (_, time) = self.table.names();
        query.push(format!(" and {alias}id >= ")).push_bind(self.first);
        query.push(format!(" and {alias}id <= ")).push_bind(self.last);
        self.push_times(query, &format!("{alias}{time}"));
    }

    /// Adds the conditions on the time, an expression.
    pub fn push_times(&self, query: &mut QueryBuilder<Postgres>, time: &str) {
        if let Some(from) = self.from {
            query.push(format!(" and {time} >= ")).push_bind(from);
        }
        if let Some(until) = self.until {
            query.push(format!(" and {time} < ")).push_bind(until);
        }
    }
}

/// The first and the last id that rows may have whose time is `from` or later, and before `until`.
async fn ids(
    db: &ReadPool,
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

/// The id of the first row written since a time, if ids follow the time.
async fn first_since(db: &ReadPool, table: Table, moment: DateTime<Utc>) -> sqlx::Result<i64> {
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

/// Whether no row has such a time and such an id. The statement counts rows: for `exists`, PostgreSQL would expect a match
/// soon and read all ids if there is none.
async fn has_none(
    db: &ReadPool,
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
    // Planned for these values: a generic plan would read the whole table.
    let rows: i64 = query.build_query_scalar().persistent(false).fetch_one(db).await?;
    Ok(rows == 0)
}
