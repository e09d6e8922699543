//! What handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use sqlx::PgPool;
use tokio::sync::Notify;

use super::ScanLimit;
use crate::{db::Database, shutdown::Stop};

/// The state of a server, the same for every request. A request clones it several times, so each part is one count to move.
#[derive(Clone, Debug)]
pub struct AppState {
    /// Connections to PostgreSQL.
    pub database: Arc<Database>,
    /// Told when an order was confirmed, so that the relay of this process need not wait for its next look.
    pub order_confirmed: Arc<Notify>,
    /// How far the server is on its way to its end.
    pub stop: Arc<Stop>,
    /// What bounds requests that read whole tables.
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
