//! The SQL of the audit log's pages. The log only grows, so every statement walks an index from where its page begins.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};

use crate::{
    console::query::{PAGE_SIZE, Query},
    db::ReadPool,
    timespan::{Days, Range, Table},
};

/// An entry of the log, without what was before and after.
#[derive(Debug, FromRow)]
pub struct Entry {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor: Option<String>,
    pub actor_name: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub action: String,
    pub subject: Option<String>,
}

/// What the subject was before and after, as JSON.
#[derive(Debug, FromRow)]
pub struct Change {
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What everybody may see who sees the log; the rest is about accounts, keys and logins.
const OPEN: [&str; 7] = [
    "category", "product", "store", "stock", "order", "job", "schedule",
];

const ENTRIES: &str =
    "select id, at, actor, actor_name, address, request_id, action, subject from audit_log a where true";

fn push_sight(sql: &mut QueryBuilder<Postgres>, sees_all: bool) {
    if !sees_all {
        sql.push(" and split_part(action, '.', 1) = any(")
            .push_bind(&OPEN[..])
            .push(")");
    }
}

/// The latest entries that a query asks for, below the id in `below`; one more than a page has, if there are more.
pub async fn list(db: &ReadPool, query: &Query, days: Days, sees_all: bool) -> sqlx::Result<Vec<Entry>> {
    let mut sql = QueryBuilder::new(ENTRIES);
    push_sight(&mut sql, sees_all);
    if let Some(below) = query.id("below") {
        sql.push(" and id < ").push_bind(below);
    }
    if let Some(action) = query.get("action") {
        sql.push(" and action = ").push_bind(action.to_owned());
    }
    if let Some(subject) = query.get("subject") {
        sql.push(" and subject = ").push_bind(subject.to_owned());
    }
    if let Some(actor) = query.get("actor") {
        sql.push(" and actor = any(")
            .push_bind(actors(db, actor).await?)
            .push(")");
    }
    let range = Range::of(db, Table::AuditLog, days, None).await?;
    range.push(&mut sql, "");
    sql.push(" order by id desc limit ").push_bind(PAGE_SIZE + 1);
    sql.build_query_as().persistent(false).fetch_all(db).await
}

/// The labels of an actor who is named by a label or by a name: several may have one.
async fn actors(db: &ReadPool, named: &str) -> sqlx::Result<Vec<String>> {
    let mut labels = sqlx::query_scalar!(
        r#"select 'account:' || id as "label!" from account where username = $1
           union all select 'key:' || id from api_key where name = $1"#,
        named
    )
    .fetch_all(db)
    .await?;
    labels.push(named.to_owned());
    Ok(labels)
}

/// One entry, with the change.
pub async fn get(db: &ReadPool, id: i64, sees_all: bool) -> sqlx::Result<Option<(Entry, Change)>> {
    let mut sql = QueryBuilder::new(ENTRIES);
    push_sight(&mut sql, sees_all);
    sql.push(" and id = ").push_bind(id);
    let Some(entry) = sql.build_query_as().fetch_optional(db).await? else {
        return Ok(None);
    };
    let change = sqlx::query_as!(
        Change,
        "select before::text, after::text from audit_log where id = $1",
        id
    );
    Ok(Some((entry, change.fetch_one(db).await?)))
}

/// The latest entries of a subject.
pub async fn entries(db: impl PgExecutor<'_>, subject: &str, limit: i64) -> sqlx::Result<Vec<Entry>> {
    let mut sql = QueryBuilder::new(ENTRIES);
    sql.push(" and subject = ").push_bind(subject.to_owned());
    sql.push(" order by id desc limit ").push_bind(limit);
    sql.build_query_as().fetch_all(db).await
}

/// Who changed a field last, and when.
#[derive(Debug)]
pub struct LatestChange {
    pub actor: String,
    pub at: DateTime<Utc>,
}

/// Entries of a subject that are looked through for a change of a field.
const LOOKED_THROUGH: i64 = 200;

/// The latest change of a field, which a JSON pointer names.
pub async fn latest_change(
    db: impl PgExecutor<'_>,
    subject: &str,
    pointer: &str,
) -> sqlx::Result<Option<LatestChange>> {
    let path: Vec<String> = pointer.split('/').skip(1).map(str::to_owned).collect();
    sqlx::query_as!(
        LatestChange,
        r#"select coalesce(actor_name, actor, 'anyone') as "actor!", at
           from (select * from audit_log where subject = $1 order by id desc limit $3) latest
           where (before #> $2)::text is distinct from (after #> $2)::text order by id desc limit 1"#,
        subject,
        &path,
        LOOKED_THROUGH
    )
    .fetch_optional(db)
    .await
}

/// Every action that was ever logged. Each is one step through the index, however often it was logged.
pub async fn actions(db: &ReadPool, sees_all: bool) -> sqlx::Result<Vec<String>> {
    let mut actions = sqlx::query_scalar!(
        r#"with recursive known (action) as (
               (select action from audit_log where action <> 'order.placed' order by action limit 1)
               union all
               select (
                   select a.action from audit_log a where a.action <> 'order.placed' and a.action > known.action
                   order by a.action limit 1
               )
               from known where known.action is not null
           )
           select action as "action!" from known where action is not null
           union all select 'order.placed'
           order by 1"#
    )
    .fetch_all(db)
    .await?;
    let kind = |action: &str| action.split('.').next().unwrap_or_default().to_owned();
    actions.retain(|action| sees_all || OPEN.contains(&kind(action).as_str()));
    Ok(actions)
}
