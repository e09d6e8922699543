//! A private Redis, on a Unix socket in a folder of its own.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A Redis that can be killed, restarted and paused. It stops with its value.
pub struct RedisServer {
    folder: TempDir,
    process: Child,
}

impl RedisServer {
    /// Starts one, and returns when it answers.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(&folder);
        Self { folder, process }
    }

    /// The address of a logical database, also while it does not run.
    pub fn url(&self, db: u32) -> String {
        let socket = self.folder.path().join("redis.sock");
        format!("redis+unix://{}?db={db}", socket.display())
    }

    /// Kills it without a chance to say goodbye.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, empty, after it was killed.
    pub fn restart(&mut self) {
        self.process = spawn(&self.folder);
    }

    /// Makes it hang: connections are accepted, and nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .arg(signal)
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(status.success(), "kill {signal}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir) -> Child {
    let socket = folder.path().join("redis.sock");
    let _ = std::fs::remove_file(&socket);
    let process = Command::new("redis-server")
        .args([
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
            "--unixsocket",
            "redis.sock",
        ])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "redis-server does not start");
        sleep(Duration::from_millis(2));
    }
    process
}
