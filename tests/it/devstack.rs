//! The private servers: they answer, they keep what they should, and they never outlive their owner.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use afforo::devstack::{self, DevstackError, Postgres, Redis};
use redis::AsyncTypedCommands;
use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::Migrator};
use tempfile::TempDir;

use crate::support::servers;

#[tokio::test]
async fn each_test_has_a_database_and_a_redis_of_its_own() {
    let migrations = Migrator::with_migrations(Vec::new());
    let (one, other) = (
        servers::database(&migrations).await,
        servers::database(&migrations).await,
    );
    execute(&one.url(), "create table only_here (id int)").await;
    execute(&other.url(), "create table only_here (id int)").await;

    let url = servers::redis().url(servers::redis_database());
    redis_at(&url).await.set("key", "here").await.unwrap();
    let url = servers::redis().url(servers::redis_database());
    assert_eq!(redis_at(&url).await.get("key").await.unwrap(), None);
    assert_eq!(
        redis_at(&format!("{url}&protocol=resp3"))
            .await
            .ping()
            .await
            .unwrap(),
        "PONG"
    );
}

#[test]
fn a_throwaway_server_takes_its_folder_along_when_it_stops() {
    let (postgres, redis) = (Postgres::throwaway().unwrap(), Redis::throwaway().unwrap());
    let folders = [postgres.socket_dir().to_owned(), redis.socket_dir().to_owned()];
    assert!(folders.iter().all(|folder| folder.exists()));
    postgres.stop();
    redis.stop();
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn a_throwaway_server_that_was_killed_takes_its_folder_along_too() {
    let redis = Redis::throwaway().unwrap();
    let folder = redis.socket_dir().to_owned();
    redis.kill();
    assert!(folder.exists());
    redis.stop();
    assert!(!folder.exists());
}

#[test]
fn kill_9_of_the_owner_leaves_nothing_behind() {
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

#[tokio::test]
async fn a_start_waits_for_the_servers_of_an_owner_that_was_killed() {
    let dir = clone_folder();
    let mut owner = Owner::start(dir.path());
    owner.kill_9();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let redis = Redis::persistent(dir.path()).unwrap();
    execute(&postgres.url("postgres"), "select 1").await;
    redis_at(&redis.url(0)).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_persistent_postgres_keeps_its_rows_over_a_restart_and_over_a_kill_9() {
    let dir = clone_folder();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let url = postgres.url("postgres");
    execute(&url, "create table kept as select 1 as id").await;
    postgres.kill();
    assert_eq!(postgres.pid(), None);
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.restart().unwrap();
    execute(&url, "insert into kept values (2)").await;
    postgres.stop();

    let postgres = Postgres::persistent(dir.path()).unwrap();
    assert_eq!(postgres.url("postgres"), url, "the address stays the same");
    assert_eq!(count(&url, "kept").await, 2);
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(text(&url, &format!("show {setting}")).await, "on");
    }
    assert_eq!(text(&url, "show listen_addresses").await, "");
    assert_eq!(text(&url, "show server_encoding").await, "UTF8");
}

#[tokio::test]
async fn a_persistent_redis_keeps_its_keys_over_a_restart_and_over_a_kill_9() {
    let dir = clone_folder();
    let redis = Redis::persistent(dir.path()).unwrap();
    redis_at(&redis.url(0)).await.set("first", "1").await.unwrap();
    redis.restart().unwrap();
    redis_at(&redis.url(0)).await.set("second", "2").await.unwrap();
    redis.stop();

    let redis = Redis::persistent(dir.path()).unwrap();
    let mut connection = redis_at(&redis.url(0)).await;
    assert_eq!(connection.get("first").await.unwrap().as_deref(), Some("1"));
    assert_eq!(connection.get("second").await.unwrap().as_deref(), Some("2"));
}

#[tokio::test]
async fn a_paused_server_keeps_its_clients_waiting_until_it_is_resumed() {
    let postgres = Postgres::throwaway().unwrap();
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    postgres.pause();
    {
        let ping = connection.ping();
        tokio::pin!(ping);
        assert!(
            tokio::time::timeout(Duration::from_millis(300), &mut ping)
                .await
                .is_err()
        );
        postgres.resume();
        ping.await.unwrap();
    }
    postgres.pause();
    postgres.stop();
}

#[tokio::test]
async fn a_second_start_on_the_same_folder_is_refused_and_harms_nothing() {
    let dir = clone_folder();
    let (postgres, redis) = (
        Postgres::persistent(dir.path()).unwrap(),
        Redis::persistent(dir.path()).unwrap(),
    );
    let ours = i32::try_from(std::process::id()).unwrap();
    for refused in [
        Postgres::persistent(dir.path()).map(drop),
        Redis::persistent(dir.path()).map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, DevstackError::AlreadyRunning { pid, .. } if pid == ours),
            "{refused}"
        );
    }
    execute(&postgres.url("postgres"), "select 1").await;
    redis_at(&redis.url(0)).await.ping().await.unwrap();
}

#[test]
fn of_many_starts_at_once_one_succeeds() {
    let dir = clone_folder();
    let starts: Vec<_> = (0..4)
        .map(|_| dir.path().to_owned())
        .map(|dir| thread::spawn(move || Postgres::persistent(&dir)))
        .collect();
    let results: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        1,
        "{results:?}"
    );
}

#[test]
fn a_leftover_pid_file_whose_number_is_another_process_by_now_does_not_prevent_a_start() {
    let dir = clone_folder();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let pid_file = postgres.data_dir().join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    let other = text.replacen(
        &postgres.pid().unwrap().to_string(),
        &std::process::id().to_string(),
        1,
    );
    postgres.stop();
    fs::write(&pid_file, other).unwrap();
    Postgres::persistent(dir.path()).unwrap();
}

#[tokio::test]
async fn as_root_the_data_of_a_closed_folder_are_elsewhere_behind_a_link() {
    if fs::metadata("/proc/self").map_or(1, |process| process.uid()) != 0 {
        return;
    }
    let clone = TempDir::new().unwrap();
    fs::set_permissions(clone.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let dir = clone.path().join(".afforo");
    let (postgres, redis) = (
        Postgres::persistent(&dir).unwrap(),
        Redis::persistent(&dir).unwrap(),
    );
    execute(&postgres.url("postgres"), "create table kept as select 1 as id").await;
    for data in [postgres.data_dir(), redis.data_dir()] {
        assert!(data.starts_with("/var/lib/afforo"), "{}", data.display());
    }
    assert!(dir.join("postgres").is_symlink() && dir.join("redis").is_symlink());
    postgres.stop();

    let postgres = Postgres::persistent(&dir).unwrap();
    assert_eq!(count(&postgres.url("postgres"), "kept").await, 1);
    let data = [postgres.data_dir(), redis.data_dir()];
    drop((postgres, redis));
    devstack::reset(&dir).unwrap();
    assert!(
        data.iter()
            .all(|data| !data.parent().unwrap().parent().unwrap().exists())
    );
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[tokio::test]
async fn reset_is_refused_while_a_server_runs_and_removes_everything_afterwards() {
    let dir = clone_folder();
    devstack::reset(&dir.path().join("never-made")).unwrap();
    let (postgres, redis) = (
        Postgres::persistent(dir.path()).unwrap(),
        Redis::persistent(dir.path()).unwrap(),
    );
    execute(&postgres.url("postgres"), "create table gone (id int)").await;
    postgres.stop();
    assert!(matches!(
        devstack::reset(dir.path()),
        Err(DevstackError::AlreadyRunning { server: "redis", .. })
    ));
    assert!(
        dir.path().join("postgres/data").exists(),
        "half a reset would be worse than none"
    );
    redis.stop();
    devstack::reset(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let postgres = Postgres::persistent(dir.path()).unwrap();
    assert_eq!(
        text(
            &postgres.url("postgres"),
            "select to_regclass('gone')::text is null || ''"
        )
        .await,
        "true"
    );
}

/// Not a test but the body of [`Owner`]'s process, which is this test binary again.
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
    servers: Vec<u32>,
    folders: Vec<PathBuf>,
}

impl Owner {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "devstack::owner_process", "--ignored", "--nocapture"])
            .env("TEST_OWNER_DIR", dir);
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
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
                servers.push(pid.parse().unwrap());
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

    fn kill_9(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The folder of a clone, which the servers' account may enter.
fn clone_folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn is_alive(pid: u32) -> bool {
    Command::new("/bin/sh")
        .args(["-c", &format!("kill -0 {pid}")])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn count(url: &str, table: &str) -> i64 {
    text(url, &format!("select count(*)::text from {table}"))
        .await
        .parse()
        .unwrap()
}

async fn text(url: &str, sql: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn redis_at(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}
