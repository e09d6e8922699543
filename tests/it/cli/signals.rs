//! Signals to a program that does not serve yet. Process 1 of a container receives only signals with a handler, so the tests
//! check the exit code: a program that a signal ended without a handler has none.

use sqlx::{Connection, PgConnection};

use super::{Running, Signal, afforo, schema};
use crate::support::servers;

#[tokio::test]
async fn signal_ends_a_process_waiting_for_the_database() {
    let url = servers::postgres().url("never");
    for (command, signal, code) in [
        (&["serve", "127.0.0.1:0", "--migrate"][..], Signal::TERM, 143),
        (&["worker"], Signal::TERM, 143),
        (&["migrate"], Signal::INT, 130),
    ] {
        let mut line = command.to_vec();
        line.extend(["--wait-for", "600"]);
        let mut waiting = Running::start(afforo(&line).env("DATABASE_URL", &url));
        waiting.says("waiting for the database").await;
        waiting.signal(signal);
        assert_eq!(waiting.ends().await.code(), Some(code), "{line:?}");
    }
}

#[tokio::test]
async fn signal_ends_a_waiting_migration_and_leaves_none_of_it() {
    let database = servers::empty_database().await;
    let mut reader = PgConnection::connect(&database.url()).await.unwrap();
    schema::migrate_to(&mut reader, 2).await;
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("lock table inventory in access share mode")
        .execute(&mut *reading)
        .await
        .unwrap();
    for command in [&["migrate"][..], &["serve", "127.0.0.1:0", "--migrate"]] {
        let mut migrating = Running::start(afforo(command).env("DATABASE_URL", database.url()));
        migrating.says("a migration waits for a lock").await;
        migrating.signal(Signal::TERM);
        assert_eq!(migrating.ends().await.code(), Some(143), "{command:?}");
    }
    let versions: Vec<i64> = sqlx::query_scalar("select version from _sqlx_migrations order by version")
        .fetch_all(&mut *reading)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2]);
}
