//! What all pages of the console share.

use std::sync::Arc;

use axum::extract::FromRef;
use axum_extra::extract::cookie::Key;
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use sqlx::PgPool;

use super::{form::Form, operator::Operator};
use crate::{
    auth::{Secret, login::LoginService},
    http::{
        ApiError, AppState, CommandContext, DryRun, IdempotencyKey, IdempotencyStore, Keyed, ScanLimit,
        retry_unfit,
    },
    order::GroupCommit,
    worker::Queues,
};

/// What all pages of the console share. Clones are cheap.
#[derive(Clone)]
pub struct Console {
    /// The server's own state.
    pub app: AppState,
    /// Places orders.
    pub placement: GroupCommit,
    /// Runs a form once, however often it is sent.
    pub idempotency: IdempotencyStore,
    /// The queues in Redis.
    pub queues: Queues,
    /// What signs cookies and links.
    pub secret: Secret,
    /// Development: cookies may be sent without TLS.
    pub debug: bool,
    /// Logs operators in.
    pub logins: Arc<LoginService>,
    /// The settings of this server by their variables' names, secrets masked.
    pub configuration: Arc<[(String, String)]>,
    /// Since when this server runs.
    pub started: DateTime<Utc>,
}

impl FromRef<Console> for AppState {
    fn from_ref(console: &Console) -> Self {
        console.app.clone()
    }
}

impl FromRef<Console> for PgPool {
    fn from_ref(console: &Console) -> Self {
        console.app.database.pool.clone()
    }
}

impl FromRef<Console> for ScanLimit {
    fn from_ref(console: &Console) -> Self {
        console.app.scans.clone()
    }
}

impl FromRef<Console> for Key {
    fn from_ref(console: &Console) -> Self {
        Self::from(&console.secret.bytes::<64>("session cookie"))
    }
}

/// A record that a form created.
#[derive(Debug, Deserialize)]
pub struct Created {
    /// Its id.
    pub id: i64,
}

impl Console {
    /// The context of a command on behalf of `operator`.
    pub fn context(&self, operator: &Operator) -> CommandContext {
        CommandContext {
            app: self.app.clone(),
            caller: operator.caller.clone(),
            key: IdempotencyKey(None),
            dry_run: DryRun::default(),
            permit: None,
        }
    }

    /// Runs a command that creates a record, once for each key of a form. `purpose` tells forms apart, and `fields` are those
    /// that make the same form another request. `T` is the part of the record that the console needs, also of a repeated
    /// request.
    pub async fn create<T: DeserializeOwned, F: Future<Output = Result<T, ApiError>>>(
        &self,
        operator: &Operator,
        form: &Form,
        (purpose, fields): (&str, &[&str]),
        command: impl Fn(CommandContext) -> F,
    ) -> Result<T, ApiError> {
        let keyed = form.keyed_request(&operator.caller, purpose, fields);
        let context = CommandContext {
            key: IdempotencyKey(keyed.clone()),
            ..self.context(operator)
        };
        let run = retry_unfit(|| command(context.clone()));
        let Some(keyed) = keyed else {
            return run.await;
        };
        let is_refusal = |done: &Result<T, ApiError>| {
            let error = done.as_ref().err();
            error.is_some_and(|error| error.status().is_client_error())
        };
        match self.idempotency.run(&keyed, run, is_refusal).await? {
            Keyed::Done(done) => done,
            Keyed::Repeated(answer) => {
                serde_json::from_str(&answer.body).map_err(|error| ApiError::Internal(error.into()))
            }
        }
    }
}
