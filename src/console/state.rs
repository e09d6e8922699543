//! What all pages of the console share.

use std::sync::Arc;

use axum::extract::FromRef;
use axum_extra::extract::cookie::Key;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::api::Api;
use crate::{
    auth::{Secret, login::Logins},
    http::{AppState, ScanLimit},
    worker::Queues,
};

/// What all pages of the console share. Clones are cheap.
#[derive(Clone)]
pub struct Console {
    /// The server's own state.
    pub app: AppState,
    /// The API, called in this process.
    pub api: Api,
    /// The queues in Redis.
    pub queues: Queues,
    /// What signs cookies and links.
    pub secret: Secret,
    /// Development: cookies may be sent in the clear.
    pub debug: bool,
    /// The door.
    pub logins: Arc<Logins>,
    /// The settings of this server by their variables' names, secrets masked.
    pub configuration: Arc<[(String, String)]>,
    /// Since when this server runs.
    pub started: DateTime<Utc>,
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

impl FromRef<Console> for Api {
    fn from_ref(console: &Console) -> Self {
        console.api.clone()
    }
}
