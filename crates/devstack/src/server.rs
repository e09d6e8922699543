//! What PostgreSQL and Redis have in common: starting, stopping, and being made to fail.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{
    DevstackError, doing,
    home::Home,
    supervise::{Plan, Supervised, Unready},
};

/// How long a server may take to be ready. Making a new cluster, or recovering after a crash, is part of it.
const START: Duration = Duration::from_mins(2);

/// How many lines of the log an error shows.
const TAIL: usize = 12;

/// A running server. Dropping it stops it in order and waits for that, which blocks the thread.
#[derive(Debug)]
pub struct Server {
    // Fields are dropped in this order: first the server ends, then the lock is released.
    supervised: Mutex<Supervised>,
    home: Home,
    ready: fn(&Home, Pid) -> bool,
}

/// How a server is told to stop: the signal, the seconds it has to follow, and the signal after that.
pub(super) type Stop = (&'static str, u32, &'static str);

impl Server {
    pub(super) fn start(
        home: Home,
        command: Vec<OsString>,
        (ask, patience, insist): Stop,
        ready: fn(&Home, Pid) -> bool,
    ) -> Result<Self, DevstackError> {
        let plan = Plan {
            command,
            folder: home.folder.clone(),
            log: home.log(),
            remains: home.remains.clone(),
            account: home.account.clone(),
            ask,
            patience,
            insist,
        };
        let mut supervised =
            Supervised::start(&plan, &home.lock).map_err(doing(format!("start {}", home.server)))?;
        wait_until_ready(&mut supervised, &home, ready)?;
        Ok(Self {
            supervised: Mutex::new(supervised),
            home,
            ready,
        })
    }

    /// The folder with the server's sockets. Only the account that runs it, and root, may enter it.
    pub fn socket_dir(&self) -> &Path {
        &self.home.sockets
    }

    /// The folder with the server's data, where it really is: for a clone that the servers' account cannot
    /// enter it is below `/var/lib/afforo`.
    pub fn data_dir(&self) -> PathBuf {
        self.home.data()
    }

    /// The file that takes the server's output. That of the run before is beside it, with `.old` at its
    /// name's end.
    pub fn log_path(&self) -> PathBuf {
        self.home.log()
    }

    /// The id of the server's (main) process; none when it has ended, as after [`Server::kill`].
    pub fn pid(&self) -> Option<i32> {
        self.supervised().server().map(|pid| pid.as_raw_nonzero().get())
    }

    /// A fault for tests: ends all the server's processes at once, as a power cut does. [`Server::restart`]
    /// brings it back.
    pub fn kill(&self) {
        self.supervised().kill();
    }

    /// A fault for tests: stops the server's processes, so that its clients wait in vain until
    /// [`Server::resume`].
    pub fn pause(&self) {
        self.supervised().signal(Signal::STOP);
    }

    /// Lets a server that was paused go on.
    pub fn resume(&self) {
        self.supervised().signal(Signal::CONT);
    }

    /// Ends the server at once if it still runs, starts it again on the same data and the same socket, and
    /// waits until it is ready. What has not reached the disk by then is lost.
    pub fn restart(&self) -> Result<(), DevstackError> {
        let mut supervised = self.supervised();
        supervised.kill();
        supervised
            .again()
            .map_err(doing(format!("start {} again", self.home.server)))?;
        wait_until_ready(&mut supervised, &self.home, self.ready)
    }

    /// A panic elsewhere leaves nothing half done in here.
    fn supervised(&self) -> MutexGuard<'_, Supervised> {
        self.supervised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_until_ready(
    supervised: &mut Supervised,
    home: &Home,
    ready: fn(&Home, Pid) -> bool,
) -> Result<(), DevstackError> {
    let failed = |reason: Unready| {
        let (server, log, reason) = (home.server, home.log(), reason.to_string());
        let tail = tail(&log).unwrap_or_default();
        DevstackError::Failed {
            server,
            reason,
            log,
            tail,
        }
    };
    supervised.until(|pid| ready(home, pid), START).map_err(failed)
}

fn tail(log: &Path) -> io::Result<String> {
    let log = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let lines: Vec<_> = log.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL)..].join("\n"))
}
