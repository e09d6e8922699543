//! Persistent servers: durable data, one owner, reset.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    thread,
};

use devstack::{DevstackError, Postgres, Redis};
use redis::AsyncTypedCommands;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::{clone_folder, count, execute, redis_at, text};

#[tokio::test]
async fn persistent_postgres_keeps_its_rows_over_restart_and_kill_9() {
    let dir = clone_folder();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let url = postgres.url("postgres");
    execute(&url, "create table kept as select 1 as id").await;
    postgres.kill();
    assert_eq!(postgres.pid(), None);
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.restart().unwrap();
    execute(&url, "insert into kept values (2)").await;
    drop(postgres);

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
async fn persistent_redis_keeps_its_keys_over_restart_and_kill_9() {
    let dir = clone_folder();
    let redis = Redis::persistent(dir.path()).unwrap();
    redis_at(&redis.url(0)).await.set("first", "1").await.unwrap();
    redis.restart().unwrap();
    redis_at(&redis.url(0)).await.set("second", "2").await.unwrap();
    drop(redis);

    let redis = Redis::persistent(dir.path()).unwrap();
    let mut connection = redis_at(&redis.url(0)).await;
    assert_eq!(connection.get("first").await.unwrap().as_deref(), Some("1"));
    assert_eq!(connection.get("second").await.unwrap().as_deref(), Some("2"));
}

#[tokio::test]
async fn second_start_on_the_same_folder_is_refused() {
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
fn one_of_several_concurrent_starts_succeeds() {
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
fn pid_file_naming_another_process_does_not_prevent_a_start() {
    let dir = clone_folder();
    let postgres = Postgres::persistent(dir.path()).unwrap();
    let pid_file = postgres.data_dir().join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    let other = text.replacen(
        &postgres.pid().unwrap().to_string(),
        &std::process::id().to_string(),
        1,
    );
    drop(postgres);
    fs::write(&pid_file, other).unwrap();
    Postgres::persistent(dir.path()).unwrap();
}

#[tokio::test]
async fn root_links_data_elsewhere_when_the_folder_is_closed() {
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
    drop(postgres);

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
async fn reset_is_refused_while_a_server_runs() {
    let dir = clone_folder();
    devstack::reset(&dir.path().join("never-made")).unwrap();
    let (postgres, redis) = (
        Postgres::persistent(dir.path()).unwrap(),
        Redis::persistent(dir.path()).unwrap(),
    );
    execute(&postgres.url("postgres"), "create table gone (id int)").await;
    drop(postgres);
    assert!(matches!(
        devstack::reset(dir.path()),
        Err(DevstackError::AlreadyRunning { server: "redis", .. })
    ));
    assert!(
        dir.path().join("postgres/data").exists(),
        "half a reset would be worse than none"
    );
    drop(redis);
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
