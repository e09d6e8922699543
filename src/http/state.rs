//! The state that handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use sqlx::PgPool;
use tokio::sync::Notify;

use super::ScanLimit;
use crate::{db::Database, shutdown::Stop};

/// The state of a server. Each request clones it several times, so each field is cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    /// Connections to PostgreSQL.
    pub database: Arc<Database>,
    /// Notified when an order is confirmed, so that the relay of this process runs at once.
    pub order_confirmed: Arc<Notify>,
    /// The phases of the shutdown.
    pub stop: Arc<Stop>,
    /// The limit of requests that read whole tables.
    pub scans: ScanLimit,
}

impl FromRef<AppState> for ScanLimit {
    fn from_ref(state: &AppState) -> Self {
        state.scans.clone()
    }
}

impl FromRef<AppState> for PgPool {
    fn from_ref(state: &AppState) -> Self {
        state.database.pool.clone()
    }
}
