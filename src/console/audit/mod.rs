//! `/admin/audit/`: the audit log.
//!
//! Accounts that are bound to stores do not see the log. Entries about accounts, keys and logins are for superusers only.

mod change;
mod queries;

use askama::Template;
use axum::{Router, response::Response, routing::get};

use super::{
    error::ConsoleError,
    format,
    operator::Operator,
    page::{Frame, Id, render},
    query::Query,
    state::Console,
};
use crate::{auth::Scope, db::ReadPool, http::Reads};
use change::Field;
pub use queries::{Entry, LatestChange, entries, latest_change};

const SECTION: &str = "/admin/audit/";
/// Entries that the page of their subject shows.
const LATEST: i64 = 5;

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/audit/", get(list))
        .route("/admin/audit/{id}/", get(show))
}

/// The latest entries of a subject, for its page; none for an operator who may not see the log.
pub async fn latest(db: &ReadPool, operator: &Operator, subject: &str) -> sqlx::Result<Vec<Entry>> {
    if operator.sees_audit() {
        entries(db, subject, LATEST).await
    } else {
        Ok(Vec::new())
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct List {
    frame: Frame,
    query: Query,
    actions: Vec<String>,
    rows: Vec<Entry>,
    /// Where the rows below these are; blank on the last page.
    older: String,
}

async fn list(operator: Operator, mut query: Query, Reads(db): Reads) -> Result<Response, ConsoleError> {
    operator.require(operator.sees_audit())?;
    let sees_all = operator.may(Scope::Admin);
    let days = (query.read_day("from"), query.read_day("to"));
    let mut rows = query.rows(queries::list(&db, &query, days, sees_all)).await?;
    let pager = query.pager(&mut rows, None);
    let last = rows.last().filter(|_| !pager.next.is_empty());
    let older = last.map(|last| query.with("below", last.id)).unwrap_or_default();
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Audit"),
        actions: queries::actions(&db, sees_all).await?,
        older,
        query,
        rows,
    }))
}

#[derive(Template)]
#[template(path = "audit_entry.html")]
struct Detail {
    frame: Frame,
    entry: Entry,
    changed: Vec<Field>,
    same: Vec<Field>,
}

async fn show(operator: Operator, Reads(db): Reads, Id(id): Id) -> Result<Response, ConsoleError> {
    operator.require(operator.sees_audit())?;
    let found = queries::get(&db, id, operator.may(Scope::Admin)).await?;
    let (entry, change) = found.ok_or(ConsoleError::NotFound)?;
    let (changed, same) = change::fields(&change).into_iter().partition(Field::is_changed);
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, format!("{} · entry {id}", entry.action)),
        entry,
        changed,
        same,
    }))
}

impl Entry {
    /// What the actor was called then.
    pub fn who(&self) -> &str {
        match (&self.actor_name, self.actor.as_deref()) {
            (Some(name), _) => name,
            (None, Some("system")) => "the system",
            (None, Some(actor)) => actor,
            (None, None) => "anyone",
        }
    }

    /// The page of the subject, if it has one.
    pub fn link(&self) -> Option<String> {
        let (kind, id) = self.subject.as_deref()?.split_once(':')?;
        let id: i64 = id.parse().ok()?;
        let section = match kind {
            "category" => "categories",
            "product" => "products",
            "store" => "stores",
            "stock" => "stock",
            "order" => "orders",
            "transfer" => "transfers",
            _ => return None,
        };
        Some(format!("/admin/{section}/{id}/"))
    }

    /// The other entries of the subject.
    pub fn history(&self) -> String {
        Query::default().with("subject", self.subject.as_deref().unwrap_or_default())
    }

    /// The other entries of the actor.
    pub fn of_actor(&self) -> String {
        Query::default().with("actor", self.actor.as_deref().unwrap_or_default())
    }
}
