//! The supervisor: a shell that runs a server and stops it when we end, however we end.
//!
//! The shell blocks on a pipe that only we hold. When we close it, or the system does because we were killed,
//! the shell stops the server and removes what has to go. It is in a process group of its own, so Ctrl-C in a
//! terminal reaches us and not the servers, and we stop them in our order.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{
    account::Account,
    processes::{runs, signal_tree},
};

/// Standard input is our pipe, standard output tells us what happens, standard error is the lock, which moves
/// to descriptor 4 so that the server inherits it.
///
/// It ignores the signals that would end it before the server: when we are killed while the server is paused,
/// for one, the system sends SIGHUP to the group that is left without a parent. The servers set handlers of
/// their own.
///
/// The signal to stop is repeated, because a server that is only just starting may miss the first. A line on
/// the pipe after the server has ended starts it again.
const SCRIPT: &str = r#"
log=$1 remains=$2 ask=$3 patience=$4 insist=$5
shift 5
trap '' HUP INT QUIT TERM PIPE
exec 3<&0 </dev/null 4>&2
[ -f "$log" ] && mv -f "$log" "$log.old"
exec 2>"$log"
while :; do
    "$@" >&2 3<&- &
    server=$!
    echo "started $server"
    {
        read -r order <&3
        while [ "$patience" -gt 0 ]; do
            kill -s "$ask" "$server" || exit
            kill -s CONT "$server"
            patience=$((patience - 1))
            sleep 1
        done
        kill -s "$insist" "$server"
    } >/dev/null 2>&1 4>&- &
    watcher=$!
    wait "$server"
    status=$?
    { kill -s KILL "$watcher"; wait "$watcher"; echo "ended $status"; } 2>/dev/null
    read -r order <&3 || break
done
rm -rf "$remains"
"#;

/// What to run, and how to end it.
#[derive(Debug)]
pub(super) struct Plan {
    /// The server and its arguments.
    pub(super) command: Vec<OsString>,
    /// Where it works.
    pub(super) folder: PathBuf,
    /// Takes its output.
    pub(super) log: PathBuf,
    /// Removed after it has ended for good.
    pub(super) remains: PathBuf,
    /// Who runs it.
    pub(super) account: Account,
    /// The signal that asks it to stop.
    pub(super) ask: &'static str,
    /// How many seconds it has to follow.
    pub(super) patience: u32,
    /// The signal after that.
    pub(super) insist: &'static str,
}

/// Why a server is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    #[error("it ended with status {0}")]
    Ended(i32),
    #[error("its supervisor ended")]
    Unsupervised,
    #[error("it was not ready within {} s", .0.as_secs())]
    TooSlow(Duration),
}

/// A server with its supervisor. Dropping it stops the server and waits for that.
#[derive(Debug)]
pub(super) struct Supervised {
    shell: Child,
    pipe: Option<ChildStdin>,
    events: Receiver<Event>,
    server: Option<Pid>,
}

#[derive(Debug)]
enum Event {
    Started(Pid),
    Ended(i32),
}

impl Supervised {
    pub(super) fn start(plan: &Plan, lock: &File) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", SCRIPT, "afforo-supervisor"])
            .arg(&plan.log)
            .arg(&plan.remains);
        shell
            .args([plan.ask, &plan.patience.to_string(), plan.insist])
            .args(&plan.command);
        shell.current_dir(&plan.folder).process_group(0);
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(lock.try_clone()?);
        own_environment(&mut shell);
        plan.account.apply(&mut shell);

        let mut shell = shell.spawn()?;
        let (sender, events) = mpsc::channel();
        if let Some(output) = shell.stdout.take() {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            thread::spawn(move || {
                lines
                    .filter_map(|line| event(&line))
                    .try_for_each(|event| sender.send(event))
            });
        }
        Ok(Self {
            pipe: shell.stdin.take(),
            shell,
            events,
            server: None,
        })
    }

    /// Waits until `ready` holds for the server's process.
    pub(super) fn until(&mut self, ready: impl Fn(Pid) -> bool, limit: Duration) -> Result<(), Unready> {
        let deadline = Instant::now() + limit;
        loop {
            match self.events.recv_timeout(Duration::from_millis(3)) {
                Ok(Event::Started(pid)) => self.server = Some(pid),
                Ok(Event::Ended(status)) => {
                    self.server = None;
                    return Err(Unready::Ended(status));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Unready::Unsupervised),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.server.is_some_and(&ready) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Unready::TooSlow(limit));
            }
        }
    }

    /// The server's process, unless it has ended.
    pub(super) fn server(&mut self) -> Option<Pid> {
        for event in self.events.try_iter() {
            self.server = event.started();
        }
        self.server
    }

    /// Sends a signal to all the processes of the server.
    pub(super) fn signal(&mut self, signal: Signal) {
        if let Some(server) = self.server() {
            signal_tree(server, signal);
        }
    }

    /// Ends all the processes of the server at once, as a power cut does. Its supervisor stays.
    pub(super) fn kill(&mut self) {
        let Some(server) = self.server() else { return };
        let killed = signal_tree(server, Signal::KILL);
        while self.server.is_some() {
            self.server = self.events.recv().ok().and_then(|event| event.started());
        }
        // The system may take its time with the children, and PostgreSQL does not start while one of them holds on to
        // the shared memory.
        let deadline = Instant::now() + Duration::from_secs(10);
        while killed.iter().any(|pid| runs(*pid)) && Instant::now() < deadline {
            nap();
        }
    }

    /// Starts the server again after it has ended.
    pub(super) fn again(&mut self) -> io::Result<()> {
        self.pipe
            .as_mut()
            .map_or(Ok(()), |pipe| pipe.write_all(b"again\n"))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "servers are started and ended apart from any runtime"
)]
fn nap() {
    thread::sleep(Duration::from_millis(2));
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        drop(self.pipe.take());
        let _ = self.shell.wait();
        while let Ok(event) = self.events.recv() {
            self.server = event.started();
        }
        // There still is one only if somebody killed the supervisor.
        self.signal(Signal::KILL);
    }
}

/// A server must not depend on the variables that happen to be set here: `PGPORT` and `LC_ALL` change what it
/// does.
fn own_environment(shell: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if ["PG", "LC_", "LANG"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            shell.env_remove(name);
        }
    }
    shell.env("LC_ALL", "C");
}

impl Event {
    fn started(&self) -> Option<Pid> {
        match self {
            Self::Started(pid) => Some(*pid),
            Self::Ended(_) => None,
        }
    }
}

fn event(line: &str) -> Option<Event> {
    match line.split_once(' ')? {
        ("started", pid) => Some(Event::Started(Pid::from_raw(pid.parse().ok()?)?)),
        ("ended", status) => Some(Event::Ended(status.parse().ok()?)),
        _ => None,
    }
}
