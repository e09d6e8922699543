//! The real program, in processes that end with the test.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The longest wait for an event before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command with no settings of Afforo except the ones that a test sets.
pub fn afforo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afforo"));
    command.args(args).env_clear().kill_on_drop(true);
    for kept in ["PATH", "HOME", "TMPDIR", "PG_BIN", "REDIS_BIN"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    // This folder and its parents have no `.env`.
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// The output of a program that has ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end.
pub async fn run(command: &mut Command) -> Output {
    let output = timeout(PATIENCE, command.output())
        .await
        .expect("the program ends")
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A program that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a program and reads its output and errors.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::default();
        let readers = vec![
            listen(child.stdout.take().unwrap(), &lines),
            listen(child.stderr.take().unwrap(), &lines),
        ];
        Self {
            child,
            lines,
            readers,
        }
    }

    /// The output so far.
    pub fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The first line that contains `text`, as soon as there is one.
    pub async fn says(&mut self, text: &str) -> String {
        let found = async {
            loop {
                let line = self
                    .lines
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|line| line.contains(text))
                    .cloned();
                if let Some(line) = line {
                    return Some(line);
                }
                if self.child.try_wait().unwrap().is_some()
                    && self.readers.iter().all(JoinHandle::is_finished)
                {
                    return None;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(Some(line)) => line,
            _ => panic!("{text:?} is not in the output:\n{}", self.output()),
        }
    }

    /// The address of a server, once it listens.
    pub async fn address(&mut self) -> SocketAddr {
        let line = self.says("listening on http://").await;
        line.split_once("http://").unwrap().1.trim().parse().unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("the program runs").try_into().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end of the program and of its output.
    pub async fn ends(&mut self) -> ExitStatus {
        let end = async {
            let status = self.child.wait().await.unwrap();
            for reader in &mut self.readers {
                if !reader.is_finished() {
                    reader.await.unwrap();
                }
            }
            status
        };
        let status = timeout(PATIENCE, end).await;
        status.unwrap_or_else(|_| panic!("the program does not end; its output:\n{}", self.output()))
    }
}

fn listen(output: impl AsyncRead + Unpin + Send + 'static, to: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let to = to.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            to.lock().unwrap().push(line);
        }
    })
}

/// The environment of a server or worker on a test's database and Redis.
pub fn on(command: &mut Command, database_url: &str, redis_url: &str) {
    command
        .env("DATABASE_URL", database_url)
        .env("REDIS_URL", redis_url)
        .env("RATE_LIMIT_ENABLED", "False");
}

/// Runs a program in a folder.
pub fn afforo_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = afforo(args);
    command.current_dir(folder);
    command
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        timeout(PATIENCE, waiting).await.is_ok(),
        "timed out waiting until {what}"
    );
}
