//! No server outlives the process that started it, and none blocks a later start.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use devstack::{Postgres, Redis};
use redis::AsyncTypedCommands;
use rustix::process::{Pid, Signal, getpgid, getpgrp, kill_process, kill_process_group, test_kill_process};

use super::{clone_folder, execute, redis_at};

#[test]
fn kill_9_of_the_owner_stops_servers_and_removes_folders() {
    let dir = clone_folder();
    let mut owner = Owner::start(dir.path());
    assert!(
        owner.servers.iter().all(|pid| is_alive(*pid)) && owner.folders.iter().all(|folder| folder.exists())
    );
    owner.kill_9();
    eventually("the servers are gone", || {
        owner.servers.iter().all(|pid| !is_alive(*pid))
    });
    eventually("their folders are gone", || {
        owner.folders.iter().all(|folder| !folder.exists())
    });
}

#[test]
fn kill_9_of_the_owner_stops_paused_servers_too() {
    let dir = clone_folder();
    let mut owner = Owner::start(dir.path());
    owner
        .servers
        .iter()
        .for_each(|server| kill_process(*server, Signal::STOP).unwrap());
    owner.kill_9();
    eventually("the servers are gone", || {
        owner.servers.iter().all(|pid| !is_alive(*pid))
    });
    eventually("their folders are gone", || {
        owner.folders.iter().all(|folder| !folder.exists())
    });
}

#[tokio::test]
async fn start_waits_for_servers_of_a_killed_owner() {
    let dir = clone_folder();
    let mut owner = Owner::start(dir.path());
    owner.kill_9();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let redis = Redis::persistent(dir.path()).unwrap();
    execute(&postgres.url("postgres"), "select 1").await;
    redis_at(&redis.url(0)).await.ping().await.unwrap();
}

#[tokio::test]
async fn start_succeeds_after_owner_and_servers_were_killed() {
    let dir = clone_folder();
    let mut owner = Owner::start(dir.path());
    for persistent in &owner.servers[..2] {
        // The server and its supervisor are one group.
        kill_process_group(getpgid(Some(*persistent)).unwrap(), Signal::KILL).unwrap();
    }
    owner.kill_9();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let redis = Redis::persistent(dir.path()).unwrap();
    execute(&postgres.url("postgres"), "select 1").await;
    redis_at(&redis.url(0)).await.ping().await.unwrap();
}

#[test]
fn start_succeeds_after_a_kill_during_initdb() {
    let dir = clone_folder();
    let mut owner = Owner::spawn(dir.path());
    let unfinished = dir.path().join("postgres/data.new");
    eventually("the cluster is being made", || unfinished.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    Postgres::persistent(dir.path()).unwrap();
}

#[test]
fn server_without_its_supervisor_stops_with_its_owner() {
    let dir = clone_folder();
    let redis = Redis::persistent(dir.path()).unwrap();
    let server = redis.pid().and_then(Pid::from_raw).unwrap();
    let supervisor = getpgid(Some(server)).unwrap();
    kill_process(supervisor, Signal::KILL).unwrap();
    assert!(is_alive(server));
    let sockets = redis.socket_dir().to_owned();
    drop(redis);
    eventually("the server is gone", || !is_alive(server));
    assert!(!sockets.exists());
}

#[test]
fn servers_run_in_their_own_process_group() {
    let (postgres, redis) = (Postgres::throwaway().unwrap(), Redis::throwaway().unwrap());
    for pid in [postgres.pid(), redis.pid()] {
        assert_ne!(getpgid(pid.and_then(Pid::from_raw)).unwrap(), getpgrp());
    }
}

/// The body of [`Owner`]'s process, which runs this test binary again.
#[test]
#[ignore = "other tests run it as a process of its own"]
fn owner_process() {
    let Some(dir) = env::var_os("TEST_OWNER_DIR").map(PathBuf::from) else {
        return;
    };
    let kept = (
        Postgres::persistent(&dir).unwrap(),
        Redis::persistent(&dir).unwrap(),
    );
    let thrown = (Postgres::throwaway().unwrap(), Redis::throwaway().unwrap());
    for server in [&*kept.0, &*kept.1, &*thrown.0, &*thrown.1] {
        eprintln!(
            "server {} {}",
            server.pid().unwrap(),
            server.socket_dir().display()
        );
    }
    eprintln!("ready");
    thread::sleep(Duration::from_mins(1));
}

/// Another process that runs all four servers.
struct Owner {
    process: Child,
    servers: Vec<Pid>,
    folders: Vec<PathBuf>,
}

impl Owner {
    /// Starts it and waits until all its servers run.
    fn start(dir: &Path) -> Self {
        let mut process = Self::spawn(dir);
        let (mut servers, mut folders) = (Vec::new(), Vec::new());
        for line in BufReader::new(process.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok)
        {
            if line == "ready" {
                break;
            } else if let Some((pid, folder)) =
                line.strip_prefix("server ").and_then(|rest| rest.split_once(' '))
            {
                servers.push(Pid::from_raw(pid.parse().unwrap()).unwrap());
                folders.push(PathBuf::from(folder));
            }
        }
        assert_eq!(servers.len(), 4, "the owner starts all of its servers");
        Self {
            process,
            servers,
            folders,
        }
    }

    fn spawn(dir: &Path) -> Child {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "ownership::owner_process", "--ignored", "--nocapture"]);
        command
            .env("TEST_OWNER_DIR", dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn kill_9(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
