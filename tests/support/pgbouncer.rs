//! `PgBouncer` in transaction mode, in front of a test's PostgreSQL.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        net::UnixStream,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use devstack::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::program::eventually;

/// The page that tells operators how to set up `PgBouncer`.
const PAGE: &str = include_str!("../../docs/SCALING.md");

/// The lines of the page's `pgbouncer.ini` that `settings` names.
pub fn documented(settings: &[&str]) -> String {
    let lines: Vec<&str> = settings
        .iter()
        .map(|setting| line(&format!("{setting} = ")))
        .collect();
    lines.join("\n")
}

/// The settings of the page that make transaction mode work.
pub fn all_documented() -> String {
    documented(&[
        "pool_mode",
        "max_prepared_statements",
        "ignore_startup_parameters",
        "server_login_retry",
    ])
}

/// The settings of the role on the page, such as `jit = 'off'`.
pub fn role_settings() -> Vec<&'static str> {
    let commands = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("ALTER ROLE afforo SET "));
    commands.map(|command| command.trim_end_matches(';')).collect()
}

fn line(beginning: &str) -> &'static str {
    let line = PAGE.lines().find(|line| line.starts_with(beginning));
    line.unwrap_or_else(|| panic!("docs/SCALING.md has no {beginning}"))
}

/// A pooler. Dropping it kills it.
pub struct PgBouncer {
    folder: TempDir,
    role: String,
    /// The account of PostgreSQL, because `PgBouncer` does not run as root.
    account: (u32, u32),
    process: Child,
}

impl PgBouncer {
    /// Starts a pooler for a role, with four sessions per database, which serve its clients in turns.
    pub async fn start(postgres: &Postgres, role: &str, settings: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let owner = fs::metadata(postgres.data_dir()).unwrap();
        let account = (owner.uid(), owner.gid());
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        chown(folder.path(), Some(account.0), Some(account.1)).unwrap();
        // The account may not be able to enter the folder of the installed program.
        fs::copy(installed(), folder.path().join("pgbouncer")).unwrap();
        let configuration = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nauth_type = trust\nauth_file = {folder}/users\n\
             unix_socket_dir = {folder}\nlisten_port = 6432\ndefault_pool_size = 4\nserver_round_robin = 1\n\
             admin_users = postgres\n{settings}",
            postgres.socket_dir().display(),
            folder = folder.path().display(),
        );
        fs::write(folder.path().join("pgbouncer.ini"), configuration).unwrap();
        let users = format!("\"postgres\" \"\"\n\"{role}\" \"\"\n");
        fs::write(folder.path().join("users"), users).unwrap();
        let process = spawn(folder.path(), account);
        let pooler = Self {
            folder,
            role: role.to_owned(),
            account,
            process,
        };
        pooler.listens().await;
        pooler
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        self.url_for(&self.role, database)
    }

    fn url_for(&self, role: &str, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{role}@{folder}:6432/{database}")
    }

    /// Kills the process at once.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the process again after a kill.
    pub async fn restart(&mut self) {
        self.process = spawn(self.folder.path(), self.account);
        self.listens().await;
    }

    /// Has the pooler open new sessions, for example because the settings of a role have changed.
    pub async fn reconnect(&self) {
        let mut console = PgConnection::connect(&self.url_for("postgres", "pgbouncer"))
            .await
            .unwrap();
        sqlx::raw_sql("RECONNECT").execute(&mut console).await.unwrap();
        console.close().await.unwrap();
    }

    async fn listens(&self) {
        let socket = self.folder.path().join(".s.PGSQL.6432");
        eventually("PgBouncer listens", async || UnixStream::connect(&socket).is_ok()).await;
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Creates a role with settings.
pub async fn create_role(postgres: &Postgres, role: &str, settings: &[&str]) {
    let settings = settings
        .iter()
        .map(|setting| format!("alter role {role} set {setting};"));
    let sql = format!("create role {role} superuser login;") + &settings.collect::<String>();
    let mut admin = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    admin.execute(AssertSqlSafe(sql)).await.unwrap();
    admin.close().await.unwrap();
}

/// The program that `scripts/install-pgbouncer.sh` has installed.
fn installed() -> PathBuf {
    let found = Command::new("scripts/install-pgbouncer.sh")
        .arg("--program")
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "PgBouncer 1.21 or later is missing: run scripts/install-pgbouncer.sh"
    );
    String::from_utf8(found.stdout).unwrap().trim().into()
}

fn spawn(folder: &Path, (uid, gid): (u32, u32)) -> Child {
    let mut command = Command::new(folder.join("pgbouncer"));
    command
        .arg("-q")
        .arg(folder.join("pgbouncer.ini"))
        .current_dir(folder);
    if rustix::process::geteuid().is_root() {
        command.uid(uid).gid(gid);
    }
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
