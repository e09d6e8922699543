//! A private PostgreSQL.

use std::{ffi::OsString, fs, ops::Deref, path::Path};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Pid;

use super::{
    DevstackError,
    binaries::{self, PostgresBinaries},
    data_dir::DataDir,
    processes,
    server::Server,
    supervise::Stop,
};

/// The name of its folder.
pub(super) const NAME: &str = "postgres";

/// Creates the cluster if there is none, then becomes the server. The cluster is renamed when it is complete, so that
/// an interrupted `initdb` is repeated.
const SCRIPT: &str = r#"
initdb=$1 data=$2 locales=$3
shift 3
if [ ! -d "$data" ]; then
    for locale in $locales; do
        rm -rf "$data.new"
        "$initdb" -D "$data.new" -U postgres -A trust -E UTF8 --locale="$locale" --no-instructions \
            $NO_SYNC && break
    done
    mv "$data.new" "$data" || exit
fi
exec "$@"
"#;

/// Copies a running server, then becomes its standby.
const STANDBY_SCRIPT: &str = r#"
basebackup=$1 data=$2 primary=$3
shift 3
if [ ! -d "$data" ]; then
    "$basebackup" -D "$data" -h "$primary" -p 5432 -U postgres -R -X stream -c fast --no-sync || exit
fi
exec "$@"
"#;

/// Settings of all servers for tests.
const THROWAWAY: [&str; 10] = [
    "fsync=off",
    "full_page_writes=off",
    "max_wal_size=256MB",
    "max_connections=400",
    "shared_buffers=64MB",
    // Containers often have little shared memory.
    "dynamic_shared_memory_type=mmap",
    "autovacuum=off",
    "jit=off",
    // Tests count statements.
    "shared_preload_libraries=pg_stat_statements",
    // All tests share the counts, which must not be evicted meanwhile.
    "pg_stat_statements.max=20000",
];

/// A server for tests without replication. Its commits do not wait for the disk.
const STANDALONE: [&str; 3] = ["synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0"];

/// A server for tests that has standbys or is one. A standby that was away catches up at once.
const REPLICATED: [&str; 3] = [
    "wal_level=replica",
    "wal_keep_size=256MB",
    "wal_retrieve_retry_interval=100ms",
];

/// SIGQUIT skips the checkpoint of a clean shutdown, which a throwaway server does not need.
const STOP_THROWAWAY: Stop = ("QUIT", 30, "KILL");

/// A private PostgreSQL server. It listens on a Unix socket only; its superuser is `postgres`, without a password.
#[derive(Debug)]
pub struct Postgres(Server);

impl Postgres {
    /// Starts a server for tests: nothing is durable, text sorts by byte, and its folder is removed with it.
    ///
    /// # Errors
    /// [`DevstackError`], when there are no binaries or the server does not start.
    pub fn throwaway() -> Result<Self, DevstackError> {
        Self::throwaway_with(&STANDALONE)
    }

    /// Starts a server for tests that can have standbys. Acknowledged commits survive [`Server::kill`], but no power cut.
    ///
    /// # Errors
    /// [`DevstackError`], when there are no binaries or the server does not start.
    pub fn throwaway_primary() -> Result<Self, DevstackError> {
        Self::throwaway_with(&REPLICATED)
    }

    fn throwaway_with(settings: &[&str]) -> Result<Self, DevstackError> {
        let binaries = binaries::postgres(None)?;
        let dir = DataDir::throwaway(NAME)?;
        let script = SCRIPT.replace("$NO_SYNC", "--no-sync --wal-segsize=1");
        let create = [
            script.into(),
            binaries.initdb.into(),
            dir.data().into(),
            "C".into(),
        ];
        let settings = THROWAWAY.iter().chain(settings);
        start(dir, &binaries.postgres, create, settings, STOP_THROWAWAY)
    }

    /// Starts a hot standby of this server, which runs and allows replication. Its folder is removed with it.
    ///
    /// # Errors
    /// [`DevstackError`], when the server cannot be copied or the standby does not start.
    pub fn standby(&self) -> Result<Self, DevstackError> {
        let binaries = binaries_for(&self.data_dir())?;
        let dir = DataDir::throwaway(NAME)?;
        let basebackup = binaries.postgres.with_file_name("pg_basebackup");
        let create = [
            STANDBY_SCRIPT.into(),
            basebackup.into(),
            dir.data().into(),
            self.socket_dir().into(),
        ];
        let settings = THROWAWAY.iter().chain(&REPLICATED);
        start(dir, &binaries.postgres, create, settings, STOP_THROWAWAY)
    }

    /// Starts the server with its data in `<dir>/postgres`, which is created if it is missing. Commits are durable.
    ///
    /// As root, if the account of the servers cannot enter `dir`, the data is below `/var/lib/afforo` and
    /// `<dir>/postgres` is a link to it.
    ///
    /// # Errors
    /// [`DevstackError::AlreadyRunning`] if it runs already, and others if it cannot start.
    pub fn persistent(dir: &Path) -> Result<Self, DevstackError> {
        let settings = [
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            "max_connections=100",
            "shared_buffers=1GB",
            "jit=off",
            "log_checkpoints=off",
        ];
        let dir = DataDir::persistent(dir, NAME)?;
        let binaries = binaries_for(&dir.data())?;
        clear_stale_pid_file(&dir)?;
        let create = [
            SCRIPT.replace("$NO_SYNC", "").into(),
            binaries.initdb.into(),
            dir.data().into(),
            "C.UTF-8 C".into(),
        ];
        start(dir, &binaries.postgres, create, &settings, ("INT", 30, "QUIT"))
    }

    /// The address of a database, such as
    /// `postgres://postgres@%2Ftmp%2Fafforo-101-0123456789abcdef:5432/afforo`. The database `postgres` always
    /// exists; any other has to be created first.
    pub fn url(&self, database: &str) -> String {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        // The explicit port overrides PGPORT.
        format!(
            "postgres://postgres@{}:5432/{}",
            encode(&self.socket_dir().to_string_lossy()),
            encode(database)
        )
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

/// The programs for data that may exist.
fn binaries_for(data: &Path) -> Result<PostgresBinaries, DevstackError> {
    let version = fs::read_to_string(data.join("PG_VERSION")).ok();
    binaries::postgres(
        version
            .as_deref()
            .map(|version| (version.trim(), data.to_owned())),
    )
}

/// Starts a server. `create` is the script that creates the data, and its three arguments.
fn start<'a>(
    dir: DataDir,
    postgres: &Path,
    [script, program, data, source]: [OsString; 4],
    settings: impl IntoIterator<Item = &'a &'a str>,
    stop: Stop,
) -> Result<Postgres, DevstackError> {
    let mut command: Vec<OsString> = vec![
        "/bin/sh".into(),
        "-c".into(),
        script,
        "afforo-create".into(),
        program,
        data,
        source,
    ];
    command.extend([postgres.into(), "-D".into(), dir.data().into()]);
    command.extend([
        "-k".into(),
        dir.sockets.clone().into(),
        "-h".into(),
        "".into(),
        "-p".into(),
        "5432".into(),
    ]);
    command.extend(
        settings
            .into_iter()
            .flat_map(|setting| ["-c".into(), setting.into()]),
    );
    Server::start(dir, &command, stop, is_ready).map(Postgres)
}

/// The pid file says that the server is ready, or ready as a standby. A file of another process is stale.
fn is_ready(dir: &DataDir, pid: Pid) -> bool {
    let ready = |status: &str| ["ready", "standby"].contains(&status);
    pid_file(dir).is_some_and(|(of, status)| of == pid && ready(&status))
}

/// After a power cut the pid in the file may belong to another process, and PostgreSQL would refuse to start. This
/// process holds the lock, so only a server that was started by hand can still run; its working directory tells.
fn clear_stale_pid_file(dir: &DataDir) -> Result<(), DevstackError> {
    let Some((pid, _)) = pid_file(dir).filter(|(pid, _)| processes::is_alive(*pid)) else {
        return Ok(());
    };
    if processes::works_in(pid, &dir.data()) {
        let (server, folder, pid) = (NAME, dir.folder.clone(), pid.as_raw_nonzero().get());
        return Err(DevstackError::AlreadyRunning { server, folder, pid });
    }
    let path = dir.data().join("postmaster.pid");
    fs::remove_file(&path).map_err(super::doing(format!("remove {}", path.display())))
}

/// The process in the pid file, and its status.
fn pid_file(dir: &DataDir) -> Option<(Pid, String)> {
    let text = fs::read_to_string(dir.data().join("postmaster.pid")).ok()?;
    let mut lines = text.lines().map(str::trim);
    let pid = Pid::from_raw(lines.next()?.parse().ok()?)?;
    Some((pid, lines.nth(6).unwrap_or_default().to_owned()))
}
