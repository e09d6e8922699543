//! The SQL of the system page.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// The state of a PostgreSQL server.
#[derive(Debug)]
pub struct Server {
    pub version: String,
    pub started: DateTime<Utc>,
    pub connections: i64,
    pub most_connections: i64,
    pub size: String,
}

/// The shortest statement, to measure the latency.
pub async fn ping(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query("select 1").execute(db).await.map(drop)
}

/// The server that a connection belongs to.
pub async fn server(db: impl PgExecutor<'_>) -> sqlx::Result<Server> {
    sqlx::query_as!(
        Server,
        r#"select current_setting('server_version') as "version!", pg_postmaster_start_time() as "started!",
               (select count(*) from pg_stat_activity where backend_type = 'client backend') as "connections!",
               current_setting('max_connections')::bigint as "most_connections!",
               pg_size_pretty(pg_database_size(current_database())) as "size!""#
    )
    .fetch_one(db)
    .await
}
