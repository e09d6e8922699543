//! The supervisor: a shell that runs a server, and stops it when the owner ends for any reason.
//!
//! The shell blocks on a pipe whose other end only the owner holds. When it closes, also because the owner was killed,
//! the shell stops the server and removes its folder. The shell has its own process group, so that Ctrl-C in a terminal
//! reaches the owner only.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{
    data_dir::DataDir,
    processes::{runs, signal_tree},
};

/// Standard input is the pipe, standard output reports events, standard error is the lock. The lock moves to descriptor
/// 4, so that the server inherits it.
///
/// The shell ignores signals that would end it before the server. For example, when the owner is killed while the server
/// is paused, the system sends SIGHUP to the orphaned group. The servers set their own handlers.
///
/// The stop signal is repeated, because a starting server may miss the first. A line on the pipe after the server ended
/// starts it again.
const SCRIPT: &str = r#"
log=$1 cleanup_dir=$2 stop_signal=$3 stop_timeout=$4 force_signal=$5
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
        while [ "$stop_timeout" -gt 0 ]; do
            kill -s "$stop_signal" "$server" || exit
            kill -s CONT "$server"
            stop_timeout=$((stop_timeout - 1))
            sleep 1
        done
        kill -s "$force_signal" "$server"
    } >/dev/null 2>&1 4>&- &
    watcher=$!
    wait "$server"
    status=$?
    { kill -s KILL "$watcher"; wait "$watcher"; echo "ended $status"; } 2>/dev/null
    read -r order <&3 || break
done
rm -rf "$cleanup_dir"
"#;

/// How to stop a server: first signal, seconds to wait, second signal.
pub(super) type Stop = (&'static str, u32, &'static str);

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

/// A server with its supervisor. Dropping it stops the server and waits for its end.
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
    /// Runs a command in the folder of a server.
    pub(super) fn start(
        dir: &DataDir,
        command: &[OsString],
        (stop_signal, stop_timeout, force_signal): Stop,
    ) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "afforo-supervisor"]);
        shell.arg(dir.log()).arg(&dir.cleanup_dir);
        shell.args([stop_signal, &stop_timeout.to_string(), force_signal]);
        shell.args(command).current_dir(&dir.folder).process_group(0);
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(dir.lock.try_clone()?);
        clean_environment(&mut shell);
        dir.account.apply(&mut shell);

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

    /// Kills all processes of the server, like a power cut. The supervisor stays.
    pub(super) fn kill(&mut self) {
        let Some(server) = self.server() else { return };
        let killed = signal_tree(server, Signal::KILL);
        while self.server.is_some() {
            self.server = self.events.recv().ok().and_then(|event| event.started());
        }
        // PostgreSQL does not start while a child of the killed server still uses the shared memory.
        let deadline = Instant::now() + Duration::from_secs(10);
        while killed.iter().any(|pid| runs(*pid)) && Instant::now() < deadline {
            sleep_briefly();
        }
    }

    /// Starts the server again after it ended.
    pub(super) fn start_again(&mut self) -> io::Result<()> {
        self.pipe
            .as_mut()
            .map_or(Ok(()), |pipe| pipe.write_all(b"again\n"))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "runs on a blocking thread, outside the runtime"
)]
fn sleep_briefly() {
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
        // A server is left only if the supervisor was killed.
        self.signal(Signal::KILL);
    }
}

/// Removes variables such as `PGPORT` and `LC_ALL`, which would change how a server behaves.
fn clean_environment(shell: &mut Command) {
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
