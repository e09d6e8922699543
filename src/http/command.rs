//! What commands share. A command is the only way to change a domain's data: it checks the rules, locks the rows, writes the
//! audit entry, and stores the response under the request's idempotency key, in one transaction.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use sqlx::PgPool;
use std::convert::Infallible;

use super::{ApiError, AppState, Caller, IdempotencyKey};
use crate::{audit::AuditContext, db};

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
    #[must_use]
    pub fn db(&self) -> &PgPool {
        &self.app.database.pool
    }

    /// As the audit log names the caller.
    #[must_use]
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

/// Runs the transaction of a command again where others that ran beside it made it fail, as [`db::retry`] does.
pub async fn retry_transaction<T, F: Future<Output = Result<T, ApiError>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, ApiError> {
    for _ in 0..db::RETRIES {
        match attempt().await {
            Err(error) if error.database_error().is_some_and(db::is_retryable) => {
                tracing::debug!(%error, "retrying a transaction");
            }
            done => return done,
        }
    }
    attempt().await
}
