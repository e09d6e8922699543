//! Starting, stopping and failing a server, for PostgreSQL and Redis alike.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{
    DevstackError,
    data_dir::DataDir,
    doing,
    supervise::{Stop, Supervised, Unready},
};

/// How long a server may take to be ready, including `initdb` or crash recovery.
const START: Duration = Duration::from_mins(2);

/// Number of log lines in an error.
const TAIL: usize = 12;

/// A running server. Dropping it stops the server and blocks until it has ended.
#[derive(Debug)]
pub struct Server {
    // Fields are dropped in this order: first the server ends, then the lock is released.
    supervised: Mutex<Supervised>,
    dir: DataDir,
    ready: fn(&DataDir, Pid) -> bool,
}

impl Server {
    pub(super) fn start(
        dir: DataDir,
        command: &[OsString],
        stop: Stop,
        ready: fn(&DataDir, Pid) -> bool,
    ) -> Result<Self, DevstackError> {
        let mut supervised =
            Supervised::start(&dir, command, stop).map_err(doing(format!("start {}", dir.server)))?;
        wait_until_ready(&mut supervised, &dir, ready)?;
        Ok(Self {
            supervised: Mutex::new(supervised),
            dir,
            ready,
        })
    }

    /// The folder with the server's sockets. Only the account that runs it, and root, may enter it.
    pub fn socket_dir(&self) -> &Path {
        &self.dir.sockets
    }

    /// The canonical path of the data. It is below `/var/lib/afforo` if the account cannot enter the requested folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.data()
    }

    /// The file with the server's output. The file of the previous run ends in `.old`.
    pub fn log_path(&self) -> PathBuf {
        self.dir.log()
    }

    /// The id of the server's main process; none after it ended, such as by [`Server::kill`].
    pub fn pid(&self) -> Option<i32> {
        self.supervised().server().map(|pid| pid.as_raw_nonzero().get())
    }

    /// A fault for tests: kills all processes of the server, like a power cut. [`Server::restart`] starts it again.
    pub fn kill(&self) {
        self.supervised().kill();
    }

    /// A fault for tests: pauses all processes of the server, so that clients wait until [`Server::resume`].
    pub fn pause(&self) {
        self.supervised().signal(Signal::STOP);
    }

    /// Resumes a paused server.
    pub fn resume(&self) {
        self.supervised().signal(Signal::CONT);
    }

    /// Kills the server if it runs, starts it again on the same data and socket, and waits until it is ready. Data that
    /// is not on disk is lost.
    pub fn restart(&self) -> Result<(), DevstackError> {
        let mut supervised = self.supervised();
        supervised.kill();
        supervised
            .start_again()
            .map_err(doing(format!("start {} again", self.dir.server)))?;
        wait_until_ready(&mut supervised, &self.dir, self.ready)
    }

    /// A panic while the lock is held leaves the value consistent.
    fn supervised(&self) -> MutexGuard<'_, Supervised> {
        self.supervised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_until_ready(
    supervised: &mut Supervised,
    dir: &DataDir,
    ready: fn(&DataDir, Pid) -> bool,
) -> Result<(), DevstackError> {
    let failed = |reason: Unready| {
        let (server, log, reason) = (dir.server, dir.log(), reason.to_string());
        let tail = tail(&log).unwrap_or_default();
        DevstackError::Failed {
            server,
            reason,
            log,
            tail,
        }
    };
    supervised.until(|pid| ready(dir, pid), START).map_err(failed)
}

fn tail(log: &Path) -> io::Result<String> {
    let log = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let lines: Vec<_> = log.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL)..].join("\n"))
}
