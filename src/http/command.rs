//! What commands share. A command is the only way to change a domain's data: it checks the rules, locks the rows, writes the
//! audit entry, and stores the response under the request's idempotency key, in one transaction.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use sqlx::PgPool;
use std::convert::Infallible;

use super::{AppState, Caller, IdempotencyKey};
use crate::audit::AuditContext;

/// On whose behalf a command runs, and under which key.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// The state of the server.
    pub app: AppState,
    /// Who asks, and what they are granted.
    pub caller: Caller,
    /// The key under which the response of a creation is stored.
    pub key: IdempotencyKey,
}

impl CommandContext {
    /// Connections to PostgreSQL.
    pub fn db(&self) -> &PgPool {
        &self.app.database.pool
    }

    /// As the audit log names the caller.
    pub fn audit_context(&self) -> AuditContext {
        self.caller.audit_context()
    }
}

impl<S: Sync> FromRequestParts<S> for CommandContext
where
    AppState: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            app: AppState::from_ref(state),
            caller: Caller::from_request_parts(parts, state).await?,
            key: IdempotencyKey::from_request_parts(parts, state).await?,
        })
    }
}
