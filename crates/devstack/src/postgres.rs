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

/// A private PostgreSQL server. It listens on a Unix socket only; its superuser is `postgres`, without a password.
#[derive(Debug)]
pub struct Postgres(Server);

impl Postgres {
    /// Starts a server for tests: nothing is durable, text sorts by byte, and its folder is removed with it.
    ///
    /// # Errors
    /// [`DevstackError`], when there are no binaries or the server does not start.
    pub fn throwaway() -> Result<Self, DevstackError> {
        let settings = [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "wal_level=minimal",
            "max_wal_senders=0",
            "max_wal_size=256MB",
            "max_connections=400",
            "shared_buffers=64MB",
            // Containers often have little shared memory.
            "dynamic_shared_memory_type=mmap",
            "autovacuum=off",
            "jit=off",
            // Tests count statements.
            "shared_preload_libraries=pg_stat_statements",
        ];
        let binaries = binaries::postgres(None)?;
        // SIGQUIT skips the checkpoint of a clean shutdown, which a throwaway server does not need.
        start(
            DataDir::throwaway(NAME)?,
            &binaries,
            "C",
            true,
            &settings,
            ("QUIT", 30, "KILL"),
        )
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
            "shared_buffers=256MB",
            "jit=off",
            "log_checkpoints=off",
        ];
        let dir = DataDir::persistent(dir, NAME)?;
        let version = fs::read_to_string(dir.data().join("PG_VERSION")).ok();
        let binaries = binaries::postgres(
            version
                .as_deref()
                .map(str::trim)
                .map(|version| (version, dir.data())),
        )?;
        clear_stale_pid_file(&dir)?;
        start(dir, &binaries, "C.UTF-8 C", false, &settings, ("INT", 30, "QUIT"))
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

fn start(
    dir: DataDir,
    binaries: &PostgresBinaries,
    locales: &str,
    throwaway: bool,
    settings: &[&str],
    stop: Stop,
) -> Result<Postgres, DevstackError> {
    let script = SCRIPT.replace(
        "$NO_SYNC",
        if throwaway {
            "--no-sync --wal-segsize=1"
        } else {
            ""
        },
    );
    let mut command: Vec<OsString> = vec![
        "/bin/sh".into(),
        "-c".into(),
        script.into(),
        "afforo-initdb".into(),
    ];
    command.extend([binaries.initdb.clone().into(), dir.data().into(), locales.into()]);
    command.extend([binaries.postgres.clone().into(), "-D".into(), dir.data().into()]);
    command.extend([
        "-k".into(),
        dir.sockets.clone().into(),
        "-h".into(),
        "".into(),
        "-p".into(),
        "5432".into(),
    ]);
    command.extend(settings.iter().flat_map(|setting| ["-c".into(), setting.into()]));
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
