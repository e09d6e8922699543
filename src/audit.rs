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

/// Logs a change. A created subject has no `before`, a deleted one no `after`. Actions are written `kind.done`, subjects
/// `kind:id`. A write that changed only `updated_at` is not logged.
pub async fn record<T: Serialize + Sync>(
    db: impl PgExecutor<'_>,
    audit_context: &AuditContext,
    action: &'static str,
    subject: impl Into<Option<String>>,
    (before, after): (Option<&T>, Option<&T>),
) -> sqlx::Result<()> {
    let json = |value: Option<&T>| {
        let value = value.map(serde_json::to_string).transpose();
        value.map_err(|error| sqlx::Error::Encode(error.into()))
    };
    if let (Some(before), Some(after)) = (before, after)
        && is_unchanged(before, after)?
    {
        return Ok(());
    }
    sqlx::query!(
        "insert into audit_log (actor, actor_name, address, request_id, action, subject, before, after)
         values ($1, $2, $3, $4, $5, $6, $7::text::json, $8::text::json)",
        audit_context.actor.label(),
        audit_context.actor.name(),
        audit_context.address.map(|address| address.to_string()),
        audit_context.request_id,
        action,
        subject.into(),
        json(before)?,
        json(after)?,
    )
    .execute(db)
    .await
    .map(drop)
}

fn is_unchanged<T: Serialize>(before: &T, after: &T) -> sqlx::Result<bool> {
    let untimed = |state: &T| {
        let mut state = serde_json::to_value(state).map_err(|error| sqlx::Error::Encode(error.into()))?;
        if let Some(fields) = state.as_object_mut() {
            fields.remove("updated_at");
        }
        Ok::<_, sqlx::Error>(state)
    };
    Ok(untimed(before)? == untimed(after)?)
}
