//! The audit log: actor, action, subject, origin, and the subject before and after. Entries are only added.
//!
//! A change and its entry commit in one transaction, so there is no change without an entry. An entry has what clients see of
//! the subject, so it has no secrets.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::Serialize;
use sqlx::PgExecutor;

/// The actor of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Unknown: the API is open.
    Anyone,
    /// A program, by its key.
    Key {
        /// The key's id.
        id: i64,
        /// Its name.
        name: Arc<str>,
    },
    /// A person, by an account.
    Account {
        /// The account's id.
        id: i64,
        /// Its name.
        name: Arc<str>,
    },
    /// The program itself, or an operator at the command line.
    System,
}

impl Actor {
    /// The actor in ledger and audit log: `key:12`, `account:3`, `system`; `None` for anyone.
    pub fn label(&self) -> Option<String> {
        (*self != Self::Anyone).then(|| self.to_string())
    }

    /// The name of the actor.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Key { name, .. } | Self::Account { name, .. } => Some(name),
            Self::Anyone | Self::System => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Key { id, .. } => write!(f, "key:{id}"),
            Self::Account { id, .. } => write!(f, "account:{id}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// The actor and origin of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditContext {
    /// The actor.
    pub actor: Actor,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request, by `X-Request-Id`.
    pub request_id: Option<String>,
}

impl AuditContext {
    /// The context of a change by the program itself or at the command line.
    pub fn system() -> Self {
        Self {
            actor: Actor::System,
            address: None,
            request_id: None,
        }
    }
}

/// A change of a subject.
#[derive(Debug)]
pub struct Entry<'a, T> {
    /// The action, written `kind.done`.
    pub action: &'static str,
    /// The subject, written `kind:id`.
    pub subject: Option<String>,
    /// The subject before and after it. A created subject has no `before`, a deleted one no `after`.
    pub states: (Option<&'a T>, Option<&'a T>),
}

/// Logs a change. A write that changed only `updated_at` and `counted_at` is not logged.
pub async fn record<T: Serialize + Sync>(
    db: impl PgExecutor<'_>,
    audit_context: &AuditContext,
    action: &'static str,
    subject: impl Into<Option<String>>,
    states: (Option<&T>, Option<&T>),
) -> sqlx::Result<()> {
    let subject = subject.into();
    let entry = Entry {
        action,
        subject,
        states,
    };
    record_all(db, audit_context, [entry]).await
}

/// Logs changes as [`record`] does, in one statement.
pub async fn record_all<'a, T: Serialize + Sync + 'a>(
    db: impl PgExecutor<'_>,
    audit_context: &AuditContext,
    entries: impl IntoIterator<Item = Entry<'a, T>>,
) -> sqlx::Result<()> {
    let (mut actions, mut subjects, mut before, mut after) = (vec![], vec![], vec![], vec![]);
    for entry in entries {
        if let (Some(before), Some(after)) = entry.states
            && is_unchanged(before, after)?
        {
            continue;
        }
        actions.push(entry.action);
        subjects.push(entry.subject);
        before.push(json(entry.states.0)?);
        after.push(json(entry.states.1)?);
    }
    if actions.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into audit_log (actor, actor_name, address, request_id, action, subject, before, after)
         select $1, $2, $3, $4, action, subject, before::json, after::json
         from unnest($5::text[], $6::text[], $7::text[], $8::text[]) with ordinality
             as entry (action, subject, before, after, place)
         order by place",
        audit_context.actor.label(),
        audit_context.actor.name(),
        audit_context.address.map(|address| address.to_string()),
        audit_context.request_id,
        &actions as &[&str],
        &subjects as &[Option<String>],
        &before as &[Option<String>],
        &after as &[Option<String>],
    )
    .execute(db)
    .await
    .map(drop)
}

fn json<T: Serialize>(state: Option<&T>) -> sqlx::Result<Option<String>> {
    let json = state.map(serde_json::to_string).transpose();
    json.map_err(|error| sqlx::Error::Encode(error.into()))
}

/// The subject of a change of several records: `kind:id` if there is only one.
pub fn only_subject(kind: &str, ids: impl IntoIterator<Item = i64>) -> Option<String> {
    let mut ids = ids.into_iter();
    match (ids.next(), ids.next()) {
        (Some(id), None) => Some(format!("{kind}:{id}")),
        _ => None,
    }
}

fn is_unchanged<T: Serialize>(before: &T, after: &T) -> sqlx::Result<bool> {
    let untimed = |state: &T| {
        let mut state = serde_json::to_value(state).map_err(|error| sqlx::Error::Encode(error.into()))?;
        if let Some(fields) = state.as_object_mut() {
            fields.retain(|name, _| !["updated_at", "counted_at"].contains(&name.as_str()));
        }
        Ok::<_, sqlx::Error>(state)
    };
    Ok(untimed(before)? == untimed(after)?)
}
