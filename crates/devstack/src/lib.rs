//! Private PostgreSQL and Redis servers, for `afforo dev` and for tests. The README says what it promises.
//!
//! `supervise.rs` stops servers when their owner ends. `account.rs` drops root. `data_dir.rs` finds the folders.
//!
//! All functions block; asynchronous callers use `spawn_blocking`.

mod account;
mod binaries;
mod data_dir;
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
pub use secret::load_or_create_secret;
pub use server::Server;

/// Why a server did not start or was not reset. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DevstackError {
    /// No folder holds `postgres` and `initdb`.
    #[error(
        "no PostgreSQL server binaries found: run `scripts/install-servers.sh`, or set PG_BIN to the folder \
         that holds `postgres` and `initdb`"
    )]
    NoPostgres,

    /// Neither `redis-server` nor `valkey-server` was found.
    #[error(
        "no Redis server found: run `scripts/install-servers.sh`, or set REDIS_BIN to `redis-server` or its \
         folder"
    )]
    NoRedis,

    /// The data belongs to a major version of PostgreSQL that is not installed.
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

    /// Root needs an unprivileged account to run the servers, and there is none.
    #[error(
        "running as root, and /etc/passwd has no account for the servers: add one named `postgres`, or run as \
         a user"
    )]
    NoAccount,

    /// Another process owns the server of this folder.
    #[error("{server} is already running for {}: stop process {pid} first", folder.display())]
    AlreadyRunning {
        /// `postgres` or `redis`.
        server: &'static str,
        /// The server's folder.
        folder: PathBuf,
        /// The process that started it.
        pid: i32,
    },

    /// The owner of the server is gone, but the server does not end.
    #[error("the previous {server} of {} has not stopped within {seconds} s: see {}, then stop it by hand",
        folder.display(), folder.join("log").display())]
    StillStopping {
        /// `postgres` or `redis`.
        server: &'static str,
        /// The server's folder.
        folder: PathBuf,
        /// How long the start waited.
        seconds: u64,
    },

    /// The folder belongs to another account, so a server cannot safely run in it.
    #[error("{} belongs to another account: remove it, or run as its owner", .0.display())]
    ForeignFolder(PathBuf),

    /// The account of the servers may not enter their data folder.
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

    /// The server ended or did not become ready. The message has the end of its log.
    #[error("{server} did not start ({reason}); the end of {}:\n{tail}", log.display())]
    Failed {
        /// `postgres` or `redis`.
        server: &'static str,
        /// Whether it ended or timed out.
        reason: String,
        /// The server's log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// An operation of the system failed.
    #[error("could not {doing}: {source}")]
    Io {
        /// The operation, as words that follow "could not".
        doing: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// Removes the persistent data of both servers below `dir`, and the secret. Missing data is not an error.
///
/// # Errors
/// [`DevstackError::AlreadyRunning`] while either server runs. Then nothing is removed.
pub fn reset(dir: &Path) -> Result<(), DevstackError> {
    let servers = [
        data_dir::ExistingData::find(dir, postgres::NAME)?,
        data_dir::ExistingData::find(dir, redis::NAME)?,
    ];
    servers
        .into_iter()
        .flatten()
        .try_for_each(data_dir::ExistingData::remove)?;
    secret::remove(dir)
}

/// Adds the failed operation to an error of the system.
fn doing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> DevstackError {
    let doing = doing.into();
    move |source| DevstackError::Io { doing, source }
}
