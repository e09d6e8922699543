//! PostgreSQL and its standby, each a real server with its own data.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
};

use devstack::Postgres;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::program::eventually;

/// A primary that acknowledges a commit when its standby has it.
pub struct Pair {
    pub primary: Postgres,
    pub standby: Postgres,
    _folders: Vec<TempDir>,
}

impl Pair {
    /// Starts both. Blocks the thread for a second or two.
    pub async fn start() -> Self {
        let folder = open_folder();
        let primary = Postgres::persistent(folder.path()).unwrap();
        let (standby, other) = standby_of(&primary).await;
        Self {
            primary,
            standby,
            _folders: vec![folder, other],
        }
    }
}

/// Creates a synchronous standby of a running server.
pub async fn standby_of(primary: &Postgres) -> (Postgres, TempDir) {
    let data = primary.data_dir();
    let owner = fs::metadata(&data).unwrap();
    let folder = open_folder();
    let home = folder.path().join("postgres");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(owner.uid()), Some(owner.gid())).unwrap();
    let server = fs::read_link(format!("/proc/{}/exe", primary.pid().unwrap())).unwrap();
    let mut copy = Command::new(server.with_file_name("pg_basebackup"));
    copy.arg("-D").arg(home.join("data"));
    copy.arg("-h").arg(primary.socket_dir());
    copy.args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
    if rustix::process::geteuid().is_root() {
        copy.uid(owner.uid()).gid(owner.gid());
    }
    let copied = copy.current_dir("/").output().unwrap();
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    let standby = Postgres::persistent(folder.path()).unwrap();
    let mut admin = PgConnection::connect(&primary.url("postgres")).await.unwrap();
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
    (standby, folder)
}

/// Makes a standby the primary.
pub async fn promote(standby: &Postgres) {
    let mut admin = PgConnection::connect(&standby.url("postgres")).await.unwrap();
    let promoted: bool = sqlx::query_scalar("select pg_promote(true, 60)")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(promoted);
    admin.close().await.unwrap();
}

/// The socket of a server.
pub fn socket(server: &Postgres) -> PathBuf {
    server.socket_dir().join(".s.PGSQL.5432")
}

/// A folder that the servers' account may enter.
fn open_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}
