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

use super::{
    DevstackError, binaries, doing,
    home::Home,
    server::{Server, Stop},
};

/// What its folder is called.
pub(super) const NAME: &str = "redis";

const SOCKET: &str = "redis.sock";

/// What a path in a URL may show as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.');

/// It saves before it goes.
const STOP: Stop = ("TERM", 30, "KILL");

/// A Redis server of our own. It listens on a Unix socket only, and asks for no password.
#[derive(Debug)]
pub struct Redis(Server);

impl Redis {
    /// Starts a server for tests: it keeps nothing on disk, and its folder goes away with it. It has 4096
    /// databases, so that each test can have its own.
    ///
    /// # Errors
    /// [`DevstackError`], when there is no binary or the server does not start.
    pub fn throwaway() -> Result<Self, DevstackError> {
        let program = binaries::redis()?;
        start(
            Home::throwaway(NAME)?,
            program,
            &["--databases", "4096", "--appendonly", "no"],
        )
    }

    /// Starts the server that keeps its data in `<dir>/redis`, with the same detour as
    /// [`Postgres::persistent`](super::Postgres::persistent). A crash of the machine loses at most its last
    /// second.
    ///
    /// # Errors
    /// [`DevstackError::AlreadyRunning`] when it is, and whatever else hinders it.
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
        start(Home::persistent(dir, NAME)?, program, &arguments)
    }

    /// The address of a logical database, such as
    /// `redis+unix:///tmp/afforo-101-0123456789abcdef/redis.sock?db=0`. Whoever wants the newer protocol
    /// appends `&protocol=resp3`.
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

    /// Stops the server in order, and waits for that.
    pub fn stop(self) {
        drop(self);
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

fn start(home: Home, program: PathBuf, arguments: &[&str]) -> Result<Redis, DevstackError> {
    let data = home.data();
    if !data.exists() {
        fs::create_dir(&data).map_err(doing(format!("make the folder {}", data.display())))?;
        home.account.own(&data)?;
    }
    let mut command: Vec<OsString> = vec![program.into()];
    command.extend([
        "--port".into(),
        "0".into(),
        "--unixsocket".into(),
        home.sockets.join(SOCKET).into(),
    ]);
    command.extend([
        "--unixsocketperm".into(),
        "700".into(),
        "--dir".into(),
        data.into(),
    ]);
    command.extend(["--save", "", "--daemonize", "no"].map(OsString::from));
    command.extend(arguments.iter().map(OsString::from));
    Server::start(home, command, STOP, is_ready).map(Redis)
}

/// While it loads its data it answers, but not with this.
fn is_ready(home: &Home, _: Pid) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(home.sockets.join(SOCKET))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ping().unwrap_or(false)
}
