//! Private PostgreSQL and Redis servers, for `afforo dev` and for the tests.
//!
//! A server is either *throwaway* (a fresh folder, quick, nothing is durable, gone with us) or *persistent*
//! (its data lives below the folder it is given and survives us). Both listen on a Unix socket only, in a
//! folder that nobody else may enter, so neither needs a port or a password.
//!
//! A server never outlives the process that started it, however that process ends: see `supervise.rs`. As root
//! it runs as an unprivileged account, because PostgreSQL refuses to be root: see `account.rs`.
//!
//! Everything here blocks; asynchronous callers go through `spawn_blocking`.

mod account;
mod binaries;
mod home;
mod lock;
mod postgres;
mod processes;
mod redis;
mod secret;
mod server;
mod supervise;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use postgres::Postgres;
pub use redis::Redis;
pub use secret::kept_secret;
pub use server::Server;

/// Why a server did not start, or was not reset. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DevstackError {
    /// Nothing on this machine holds `postgres` and `initdb`.
    #[error(
        "no PostgreSQL server binaries found: run `scripts/install-servers.sh`, or set PG_BIN to the folder \
         that holds `postgres` and `initdb`"
    )]
    NoPostgres,

    /// Neither `redis-server` nor `valkey-server` is on this machine.
    #[error(
        "no Redis server found: run `scripts/install-servers.sh`, or set REDIS_BIN to `redis-server` or its \
         folder"
    )]
    NoRedis,

    /// The data were written by a PostgreSQL of another major version than any that is installed.
    #[error(
        "{} was made by PostgreSQL {version}, which is not installed: install that version, or set PG_BIN to \
         its binaries, or reset the data",
        data.display()
    )]
    WrongVersion {
        /// The cluster's folder.
        data: PathBuf,
        /// Its major version, such as `15`.
        version: String,
    },

    /// We are root, and have no account to run the servers as.
    #[error(
        "running as root, and /etc/passwd has no account for the servers: add one named `postgres`, or run as \
         a user"
    )]
    NoAccount,

    /// Another process runs, or at least owns, the server of this folder.
    #[error("{server} is already running for {}: stop process {pid} first", folder.display())]
    AlreadyRunning {
        /// `postgres` or `redis`.
        server: &'static str,
        /// The server's folder.
        folder: PathBuf,
        /// The process that started it.
        pid: i32,
    },

    /// The process that started the server is gone, and yet the server does not end.
    #[error("the previous {server} of {} has not stopped within {seconds} s: see {}, then stop it by hand",
        folder.display(), folder.join("log").display())]
    StillStopping {
        /// `postgres` or `redis`.
        server: &'static str,
        /// The server's folder.
        folder: PathBuf,
        /// How long we waited.
        seconds: u64,
    },

    /// The folder is somebody else's, so that running a server in it is neither possible nor safe.
    #[error("{} belongs to another account: remove it, or run as its owner", .0.display())]
    ForeignFolder(PathBuf),

    /// The account that the servers run as may not enter the folder that holds their data.
    #[error(
        "the account `{account}`, which runs the servers, may not enter {}: open the way to it, or remove it",
        folder.display()
    )]
    ClosedFolder {
        /// The account's name.
        account: String,
        /// The server's folder.
        folder: PathBuf,
    },

    /// The server ended, or never became ready. The log's end is part of the message.
    #[error("{server} did not start ({reason}); the end of {}:\n{tail}", log.display())]
    Failed {
        /// `postgres` or `redis`.
        server: &'static str,
        /// Whether it ended or took too long.
        reason: String,
        /// The server's log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// The system refused something.
    #[error("could not {doing}: {source}")]
    Io {
        /// The act, as words that follow "could not".
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Removes the persistent data of both servers below `dir`, wherever it really is, and the secret. What does not exist is no
/// error.
///
/// # Errors
/// [`DevstackError::AlreadyRunning`] while either of them runs; then nothing has been removed.
pub fn reset(dir: &Path) -> Result<(), DevstackError> {
    let servers = [
        home::Kept::find(dir, postgres::NAME)?,
        home::Kept::find(dir, redis::NAME)?,
    ];
    servers.into_iter().flatten().try_for_each(home::Kept::remove)?;
    secret::forget(dir)
}

/// Puts what we were doing in front of the system's reason.
fn doing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> DevstackError {
    let doing = doing.into();
    move |source| DevstackError::Io { doing, source }
}
