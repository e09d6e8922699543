//! What commands share. A command is the only way to change a domain's data: it checks the rules, locks the rows, writes the
//! audit entry, and stores the response under the request's idempotency key, in one transaction.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, request::Parts},
};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::convert::Infallible;

use super::{ApiError, AppState, Caller, DryRun, IdempotencyKey, Permit};
use crate::{
    audit::{self, AuditContext},
    db::{self, AsDatabaseError, ReadPool},
};

/// The server state, the caller and the idempotency key of a command.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// The state of the server.
    pub app: AppState,
    /// The caller and its grant.
    pub caller: Caller,
    /// The key under which the response of a creation is stored.
    pub key: IdempotencyKey,
    /// Whether the transaction is rolled back in the end.
    pub dry_run: DryRun,
    /// Admits a request of the API.
    pub permit: Option<Permit>,
}

impl CommandContext {
    /// Connections for transactions.
    pub fn db(&self) -> &PgPool {
        &self.app.database.pool
    }

    /// Connections for reads that take no lock.
    pub fn reads(&self) -> &ReadPool {
        &self.app.database.reads
    }

    /// Has the request count among those that need the shared pool until the result is dropped, if it did not: a new order does
    /// not, as long as it needs a lane only. Waits while other requests of the client use all connections that it may have.
    pub async fn enter_pool(&self) -> Result<Option<Permit>, ApiError> {
        let Some(permit) = &self.permit else {
            return Ok(None);
        };
        let Some(pooled) = permit.pooled(self.caller.address)? else {
            return Ok(None);
        };
        pooled.wait_for_connection().await;
        Ok(Some(pooled))
    }

    /// As the audit log names the caller.
    pub fn audit_context(&self) -> AuditContext {
        self.caller.audit_context()
    }

    /// Commits the creation of a record with its audit entry, and its response under the request's key.
    pub async fn commit_created<T: Serialize + Sync>(
        &self,
        mut tx: Transaction<'_, Postgres>,
        action: &'static str,
        id: i64,
        created: &T,
    ) -> Result<(), ApiError> {
        self.record(&mut tx, action, id, (None, Some(created))).await?;
        self.commit_answer(tx, StatusCode::CREATED, created).await
    }

    /// Commits a transaction, with its response under the request's key.
    pub async fn commit_answer<T: Serialize>(
        &self,
        mut tx: Transaction<'_, Postgres>,
        status: StatusCode,
        answer: &T,
    ) -> Result<(), ApiError> {
        self.key.store(&mut tx, status, answer).await?;
        self.end(tx).await
    }

    /// Commits the change or deletion of a record with its audit entry.
    pub async fn commit<T: Serialize + Sync>(
        &self,
        mut tx: Transaction<'_, Postgres>,
        action: &'static str,
        id: i64,
        states: (Option<&T>, Option<&T>),
    ) -> Result<(), ApiError> {
        self.record(&mut tx, action, id, states).await?;
        self.end(tx).await
    }

    async fn end(&self, tx: Transaction<'_, Postgres>) -> Result<(), ApiError> {
        if self.dry_run.0 {
            return Ok(tx.rollback().await?);
        }
        Ok(db::commit(tx).await?)
    }

    /// Adds an audit entry about a record of the kind that `action` begins with, such as `store` in `store.changed`.
    pub async fn record<T: Serialize + Sync>(
        &self,
        tx: &mut PgConnection,
        action: &'static str,
        id: i64,
        states: (Option<&T>, Option<&T>),
    ) -> sqlx::Result<()> {
        let kind = action.split('.').next().unwrap_or(action);
        audit::record(tx, &self.audit_context(), action, format!("{kind}:{id}"), states).await
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
            dry_run: DryRun::of(parts.uri.query()),
            permit: parts.extensions.get().cloned(),
        })
    }
}

/// Runs a command; once more where its connection to the database was unfit, as after a migration: nothing was done then.
pub async fn retry_unfit<T, F: Future<Output = Result<T, ApiError>>>(
    command: impl Fn() -> F,
) -> Result<T, ApiError> {
    let done = command().await;
    match done.as_ref().err().and_then(AsDatabaseError::database_error) {
        Some(error) if db::is_unfit(error) => {
            db::note(error);
            command().await
        }
        _ => done,
    }
}
