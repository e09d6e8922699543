//! A server or a worker that is killed and comes back.

use std::{
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicU16, Ordering},
};

use rustix::process::Signal;

use crate::support::program::{Running, afforo};

/// A process of the real program, through all its lives.
pub struct Program {
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    /// Where it listens, if it does. It stays the same.
    pub address: SocketAddr,
    running: Running,
    /// What its former lives have said.
    buried: Vec<String>,
}

impl Program {
    /// Starts `afforo serve` on a port of its own, and waits until it listens.
    pub async fn server(args: &[&str], env: &[(&'static str, String)]) -> Self {
        let address = free_address();
        let mut line = vec!["serve".to_owned(), address.to_string()];
        line.extend(args.iter().map(ToString::to_string));
        let mut server = Self::start(line, env.to_vec(), address);
        server.running.says("listening on").await;
        server
    }

    /// Starts `afforo worker`, and waits until it works.
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
            buried: Vec::new(),
        }
    }

    /// Ends it as `kill -9` does, and sees to it that it died of that.
    pub async fn kill(&mut self) {
        self.running.signal(Signal::KILL);
        let died_of = self.running.ends().await.signal();
        assert_eq!(died_of, Some(Signal::KILL.as_raw()), "{}", self.running.said());
        self.buried.push(self.running.said());
    }

    /// Starts it again after it was killed, and waits until it is at work.
    pub async fn rise(&mut self) {
        self.running = run(&self.args, &self.env);
        let ready = if self.args[0] == "serve" {
            "listening on"
        } else {
            "worker started"
        };
        self.running.says(ready).await;
    }

    /// Asks it to stop, and waits until it has, in good order.
    pub async fn stop(&mut self) {
        self.running.signal(Signal::TERM);
        assert_eq!(
            self.running.ends().await.code(),
            Some(0),
            "{}",
            self.running.said()
        );
    }

    /// Everything that it has said in all its lives.
    pub fn said(&self) -> String {
        let mut said = self.buried.join("\n");
        said.push('\n');
        said.push_str(&self.running.said());
        said
    }
}

fn run(args: &[String], env: &[(&'static str, String)]) -> Running {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = afforo(&args);
    command.envs(env.iter().map(|(name, value)| (*name, value)));
    Running::start(&mut command)
}

/// A port that nobody listens on, and that the system gives to no outgoing connection: a client that calls while the
/// server is down must not be put through to itself.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of another clone may run beside these.
    let start = u16::try_from(std::process::id() % 80).unwrap_or(0) * 100;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
