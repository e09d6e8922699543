//! PostgreSQL and its standbys, each a real server with its own data.

use std::path::PathBuf;

use devstack::Postgres;
use sqlx::{Connection, Executor, PgConnection};

use super::program::eventually;

/// A primary that acknowledges a commit when its standby has it.
pub struct Pair {
    pub primary: Postgres,
    pub standby: Postgres,
}

impl Pair {
    /// Starts both. Blocks the thread for a second or two.
    pub async fn start() -> Self {
        let primary = Postgres::throwaway_primary().unwrap();
        let standby = standby_of(&primary).await;
        Self { primary, standby }
    }
}

/// Creates a synchronous standby of a running server.
pub async fn standby_of(primary: &Postgres) -> Postgres {
    let standby = primary.standby().unwrap();
    let mut admin = admin(primary).await;
    admin
        .execute("alter system set synchronous_standby_names = '*'")
        .await
        .unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    eventually("the standby follows", async || {
        let follows =
            "select exists (select from pg_stat_replication where sync_state in ('sync', 'quorum'))";
        sqlx::query_scalar(follows).fetch_one(&mut admin).await.unwrap()
    })
    .await;
    admin.close().await.unwrap();
    standby
}

/// Makes a standby the primary.
pub async fn promote(standby: &Postgres) {
    let promoted: bool = sqlx::query_scalar("select pg_promote(true, 60)")
        .fetch_one(&mut admin(standby).await)
        .await
        .unwrap();
    assert!(promoted);
}

/// Makes a standby keep received changes back, so that it lags.
pub async fn pause_replay(standby: &Postgres) {
    let mut admin = admin(standby).await;
    admin.execute("select pg_wal_replay_pause()").await.unwrap();
    eventually("the replay is paused", async || {
        let paused = "select pg_get_wal_replay_pause_state() = 'paused'";
        sqlx::query_scalar(paused).fetch_one(&mut admin).await.unwrap()
    })
    .await;
}

/// Makes a paused standby catch up.
pub async fn resume_replay(standby: &Postgres) {
    let mut admin = admin(standby).await;
    admin.execute("select pg_wal_replay_resume()").await.unwrap();
}

/// Waits until a standby has replayed what its primary has written so far.
pub async fn caught_up(primary: &Postgres, standby: &Postgres) {
    let written: String = sqlx::query_scalar("select pg_current_wal_lsn()::text")
        .fetch_one(&mut admin(primary).await)
        .await
        .unwrap();
    let mut admin = admin(standby).await;
    eventually("the standby has caught up", async || {
        sqlx::query_scalar("select pg_last_wal_replay_lsn() >= $1::pg_lsn")
            .bind(&written)
            .fetch_one(&mut admin)
            .await
            .unwrap()
    })
    .await;
}

async fn admin(server: &Postgres) -> PgConnection {
    PgConnection::connect(&server.url("postgres")).await.unwrap()
}

/// The socket of a server.
pub fn socket(server: &Postgres) -> PathBuf {
    server.socket_dir().join(".s.PGSQL.5432")
}
