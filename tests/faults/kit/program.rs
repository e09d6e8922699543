//! A server or worker that is killed and restarted.

use std::{
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicU16, Ordering},
};

use rustix::process::Signal;

use crate::support::program::{Running, afforo};

/// The real program, across restarts.
pub struct Program {
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    /// The address that a server listens on; it stays the same after a restart.
    pub address: SocketAddr,
    running: Running,
    /// The output of earlier processes.
    earlier_output: Vec<String>,
}

impl Program {
    /// Starts `afforo serve` on a free port and waits until it listens.
    pub async fn server(args: &[&str], env: &[(&'static str, String)]) -> Self {
        let address = free_address();
        let mut line = vec!["serve".to_owned(), address.to_string()];
        line.extend(args.iter().map(ToString::to_string));
        let mut server = Self::start(line, env.to_vec(), address);
        server.running.says("listening on").await;
        server
    }

    /// Starts `afforo worker` and waits until it is ready.
    pub async fn worker(env: &[(&'static str, String)]) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut worker = Self::start(vec!["worker".to_owned()], env.to_vec(), nowhere);
        worker.running.says("worker started").await;
        worker
    }

    fn start(args: Vec<String>, env: Vec<(&'static str, String)>, address: SocketAddr) -> Self {
        let running = run(&args, &env);
        Self {
            args,
            env,
            address,
            running,
            earlier_output: Vec::new(),
        }
    }

    /// Ends the process like `kill -9`, and asserts that this signal ended it.
    pub async fn kill(&mut self) {
        self.running.signal(Signal::KILL);
        let died_of = self.running.ends().await.signal();
        assert_eq!(died_of, Some(Signal::KILL.as_raw()), "{}", self.running.output());
        self.earlier_output.push(self.running.output());
    }

    /// Starts the program again after a kill and waits until it is ready.
    pub async fn restart(&mut self) {
        self.running = run(&self.args, &self.env);
        let ready = if self.args[0] == "serve" {
            "listening on"
        } else {
            "worker started"
        };
        self.running.says(ready).await;
    }

    /// Stops the program and asserts that it exits without an error.
    pub async fn stop(&mut self) {
        self.running.signal(Signal::TERM);
        assert_eq!(
            self.running.ends().await.code(),
            Some(0),
            "{}",
            self.running.output()
        );
    }

    /// The output of all processes so far.
    pub fn output(&self) -> String {
        let mut output = self.earlier_output.join("\n");
        output.push('\n');
        output.push_str(&self.running.output());
        output
    }
}

fn run(args: &[String], env: &[(&'static str, String)]) -> Running {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = afforo(&args);
    command.envs(env.iter().map(|(name, value)| (*name, value)));
    Running::start(&mut command)
}

/// A free port outside the range of outgoing connections. A client that connects to a port of that range while the server
/// is down can be connected to itself.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of another clone may run at the same time.
    let start = u16::try_from(std::process::id() % 80).unwrap_or(0) * 100;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
