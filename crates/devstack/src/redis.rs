//! A private Redis, or Valkey.

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    ops::Deref,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Pid;

use super::{DevstackError, binaries, data_dir::DataDir, doing, server::Server, supervise::Stop};

/// The name of its folder.
pub(super) const NAME: &str = "redis";

const SOCKET: &str = "redis.sock";

/// Bytes of a path that a URL needs not encode.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.');

/// On SIGTERM Redis saves before it ends.
const STOP: Stop = ("TERM", 30, "KILL");

/// A private Redis server. It listens on a Unix socket only, without a password.
#[derive(Debug)]
pub struct Redis(Server);

impl Redis {
    /// Starts a server for tests: nothing is durable, and its folder is removed with it. It has 4096 databases, so that
    /// each test can use its own.
    ///
    /// # Errors
    /// [`DevstackError`], when there is no binary or the server does not start.
    pub fn throwaway() -> Result<Self, DevstackError> {
        let program = binaries::redis()?;
        start(
            DataDir::throwaway(NAME)?,
            program,
            &["--databases", "4096", "--appendonly", "no"],
        )
    }

    /// Starts the server with its data in `<dir>/redis`, or in the fallback folder like
    /// [`Postgres::persistent`](super::Postgres::persistent). A crash of the machine loses at most the last second.
    ///
    /// # Errors
    /// [`DevstackError::AlreadyRunning`] if it runs already, and others if it cannot start.
    pub fn persistent(dir: &Path) -> Result<Self, DevstackError> {
        let arguments = [
            "--databases",
            "16",
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
        ];
        let program = binaries::redis()?;
        start(DataDir::persistent(dir, NAME)?, program, &arguments)
    }

    /// The address of a logical database, such as
    /// `redis+unix:///tmp/afforo-101-0123456789abcdef/redis.sock?db=0`. Append `&protocol=resp3` for RESP3.
    pub fn url(&self, db: u32) -> String {
        format!(
            "redis+unix://{}?db={db}",
            utf8_percent_encode(&self.socket().to_string_lossy(), IN_PATH)
        )
    }

    /// The Unix socket that the server listens on.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir().join(SOCKET)
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

fn start(dir: DataDir, program: PathBuf, arguments: &[&str]) -> Result<Redis, DevstackError> {
    let data = dir.data();
    if !data.exists() {
        fs::create_dir(&data).map_err(doing(format!("make the folder {}", data.display())))?;
        dir.account.own(&data)?;
    }
    let mut command: Vec<OsString> = vec![program.into()];
    command.extend([
        "--port".into(),
        "0".into(),
        "--unixsocket".into(),
        dir.sockets.join(SOCKET).into(),
    ]);
    command.extend([
        "--unixsocketperm".into(),
        "700".into(),
        "--dir".into(),
        data.into(),
    ]);
    command.extend(["--save", "", "--daemonize", "no"].map(OsString::from));
    command.extend(arguments.iter().map(OsString::from));
    Server::start(dir, &command, STOP, is_ready).map(Redis)
}

/// While Redis loads its data it answers `PING` with an error.
fn is_ready(dir: &DataDir, _: Pid) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(dir.sockets.join(SOCKET))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ping().unwrap_or(false)
}
