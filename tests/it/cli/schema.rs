//! `afforo migrate`

use sqlx::{Connection, PgConnection, PgPool};

use super::{TestApp, afforo, run};
use crate::support::{app::unbalanced, program::Said, servers};

async fn migrate(url: &str, args: &[&str]) -> Said {
    let mut line = vec!["migrate"];
    line.extend(args);
    run(afforo(&line).env("DATABASE_URL", url)).await
}

#[tokio::test]
async fn an_empty_database_gets_its_tables_and_the_second_time_nothing() {
    let database = servers::empty_database().await;
    let url = database.url();
    let missing = migrate(&url, &["--check"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing
            .out
            .starts_with("missing: 1 catalogue\nmissing: 2 orders\n"),
        "{}",
        missing.out
    );
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let tables = "select count(*) from information_schema.tables where table_schema = 'public'";
    let count: i64 = sqlx::query_scalar(tables)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(count, 0, "a check changes nothing");

    let first = migrate(&url, &[]).await;
    assert_eq!(first.code, Some(0));
    assert!(
        first.out.starts_with("Applied ") && first.out.ends_with(" migrations.\n"),
        "{}",
        first.out
    );
    let second = migrate(&url, &[]).await;
    assert_eq!(
        (second.code, second.out.as_str()),
        (Some(0), "The schema is up to date.\n")
    );
    let check = migrate(&url, &["--check"]).await;
    assert_eq!((check.code, check.out.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn two_migrations_at_once_both_end_well() {
    for _ in 0..3 {
        let database = servers::empty_database().await;
        let url = database.url();
        let (one, other) = tokio::join!(migrate(&url, &[]), migrate(&url, &[]));
        assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?} {other:?}");
        assert_eq!(migrate(&url, &["--check"]).await.code, Some(0));
    }
}

#[tokio::test]
async fn migrating_a_filled_database_again_changes_nothing() {
    let app = TestApp::start().await;
    let seed = run(
        afforo(&["seed", "--products", "50", "--stores", "3", "--random-seed", "1"])
            .env("DATABASE_URL", &app.database_url),
    )
    .await;
    assert_eq!(seed.code, Some(0), "{}", seed.err);
    app.order(1, &[(1, 2), (2, 1)]).await.created();
    assert_eq!(app.order(1, &[(4711, 2)]).await.status, 200);
    let before = contents(&app.pool).await;
    let migrated = migrate(&app.database_url, &[]).await;
    assert_eq!(
        (migrated.code, migrated.out.as_str()),
        (Some(0), "The schema is up to date.\n")
    );
    assert_eq!(contents(&app.pool).await, before);
    app.order(1, &[(1, 2), (2, 1)]).await.created();
    assert!(unbalanced(&app.pool).await.is_empty());
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_failure_that_says_so() {
    let said = migrate(&servers::postgres().url("no_such_database"), &[]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no_such_database"), "{}", said.err);
}

/// A digest of every table's rows.
async fn contents(pool: &PgPool) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'public' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut contents = Vec::new();
    for table in tables {
        let sql =
            format!("select coalesce(md5(string_agg(t::text, ',' order by t::text)), '') from {table} t");
        let digest = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(pool)
            .await
            .unwrap();
        contents.push((table, digest));
    }
    contents
}
