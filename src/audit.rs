//! The audit log: who did what to what, from where, with what it was before and after. It is only ever added to.
//!
//! What a request changes is logged in its own transaction, so that there is no change without its entry. Secrets do not
//! come near it: what stands in an entry is what clients see of the subject.

use std::net::IpAddr;

use serde::Serialize;
use sqlx::PgExecutor;

use crate::access::Who;

/// Under whose name something is done, and where that came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Who.
    pub who: Who,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request, by `X-Request-Id`.
    pub request_id: Option<String>,
}

impl Signature {
    /// Of what is done by itself, or on the command line.
    #[must_use]
    pub fn system() -> Self {
        Self {
            who: Who::System,
            address: None,
            request_id: None,
        }
    }
}

/// Logs that `before` was made into `after`; there is no before of what was made, and no after of what is gone. An action is
/// written `kind.done`, a subject `kind:id`.
pub async fn record<T: Serialize + Sync>(
    db: impl PgExecutor<'_>,
    signature: &Signature,
    action: &'static str,
    subject: Option<String>,
    (before, after): (Option<&T>, Option<&T>),
) -> sqlx::Result<()> {
    let json = |value: Option<&T>| {
        let value = value.map(serde_json::to_string).transpose();
        value.map_err(|error| sqlx::Error::Encode(error.into()))
    };
    sqlx::query!(
        "insert into audit_log (actor, actor_name, address, request_id, action, subject, before, after)
         values ($1, $2, $3, $4, $5, $6, $7::text::json, $8::text::json)",
        signature.who.label(),
        signature.who.name(),
        signature.address.map(|address| address.to_string()),
        signature.request_id,
        action,
        subject,
        json(before)?,
        json(after)?,
    )
    .execute(db)
    .await
    .map(drop)
}
