//! `afforo migrate`

use afforo::{check, db::MIGRATIONS};
use futures::future::join_all;
use sqlx::{Connection, Executor, PgConnection, PgPool};

use super::{Running, TestApp, afforo, client, on, run};
use crate::support::{
    app::{send, unbalanced},
    pgbouncer::{PgBouncer, all_documented},
    program::{Output, eventually},
    servers,
};

/// Applies the first migrations, as sqlx does and earlier releases did.
pub(super) async fn migrate_to(connection: &mut PgConnection, version: i64) {
    MIGRATIONS.run_to(version, connection).await.unwrap();
}

async fn migrate(url: &str, args: &[&str]) -> Output {
    let mut line = vec!["migrate"];
    line.extend(args);
    run(afforo(&line).env("DATABASE_URL", url)).await
}

#[tokio::test]
async fn migrate_creates_the_schema_once() {
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
async fn complete_requires_rising_times_of_new_movements_only() {
    let database = servers::empty_database().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    migrate_to(&mut connection, 16).await;
    // As a server of the release before writes them: the second transaction began first.
    let movement = "insert into stock_movement (inventory_id, kind, delta, quantity_after, created_at)";
    let movements = format!(
        "insert into category (name) values ('Lamps');
         insert into product (title, price, category_id) values ('Lamp', 1, 1);
         insert into store (name, location) values ('Main', 'Here');
         insert into inventory (store_id, product_id, quantity) values (1, 1, 3);
         {movement} values (1, 'INITIAL', 1, 1, now()), (1, 'ADJUSTMENT', 1, 2, now() - interval '1 s'),
             (1, 'ADJUSTMENT', 1, 3, now());"
    );
    connection.execute(sqlx::AssertSqlSafe(movements)).await.unwrap();
    assert_eq!(migrate(&database.url(), &[]).await.code, Some(0));
    let pool = PgPool::connect(&database.url()).await.unwrap();
    let older = format!("{movement} values (1, 'ADJUSTMENT', 0, 3, now() - interval '1 day')");
    pool.execute(sqlx::AssertSqlSafe(older.clone())).await.unwrap();
    unbalanced(&pool).await;

    for _ in 0..2 {
        let completed = migrate(&database.url(), &["--complete"]).await;
        assert_eq!(
            completed.out,
            "The schema is up to date.\nThe upgrade is complete.\n"
        );
    }
    unbalanced(&pool).await;
    pool.execute(sqlx::AssertSqlSafe(older.replace("1 day", "2 days")))
        .await
        .unwrap();
    unbalanced(&pool).await;
    pool.execute(sqlx::AssertSqlSafe(older.replace("1 day", "3 days")))
        .await
        .unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let checked = check::run(&mut connection).await.unwrap();
    let broken: Vec<_> = checked.iter().filter(|checked| checked.broken > 0).collect();
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert_eq!(broken[0].examples, ["movement 6"]);
}

#[tokio::test]
async fn two_concurrent_migrations_both_succeed() {
    for _ in 0..3 {
        let database = servers::empty_database().await;
        let url = database.url();
        let (one, other) = tokio::join!(migrate(&url, &[]), migrate(&url, &[]));
        assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?} {other:?}");
        assert_eq!(migrate(&url, &["--check"]).await.code, Some(0));
    }
}

#[tokio::test]
async fn one_of_three_concurrent_server_starts_reports_the_migration() {
    let database = servers::empty_database().await;
    let mut lines = String::new();
    for round in 0..2 {
        let start = || {
            let mut command = afforo(&["serve", "127.0.0.1:0", "--migrate"]);
            Running::start(command.env("DATABASE_URL", database.url()))
        };
        let mut starting = [start(), start(), start()];
        join_all(starting.iter_mut().map(Running::address)).await;
        let output = starting.map(|server| server.output()).join("\n");
        let migrated = usize::from(round == 0);
        assert_eq!(
            output.matches("schema brought up to date").count(),
            migrated,
            "{output}"
        );
        assert_eq!(
            output.matches("schema is up to date").count(),
            3 - migrated,
            "{output}"
        );
        lines += &output;
    }
    // Migrations do not create existing objects again; PostgreSQL would log a notice.
    assert!(!lines.contains("already exists"), "{lines}");
}

#[tokio::test]
async fn migration_waiting_for_a_lock_does_not_block_writes() {
    let database = servers::empty_database().await;
    let (mut reader, mut writer) = (
        PgConnection::connect(&database.url()).await.unwrap(),
        PgConnection::connect(&database.url()).await.unwrap(),
    );
    migrate_to(&mut reader, 2).await;
    let mut reading = reader.begin().await.unwrap();
    // The next migration changes this table.
    reading
        .execute("lock table inventory in access share mode")
        .await
        .unwrap();
    let mut command = afforo(&["migrate"]);
    let mut migrating = Running::start(command.env("DATABASE_URL", database.url()));
    eventually("the migration waits for the lock", async || {
        sqlx::query_scalar(
            "select exists (select from pg_locks where relation = 'inventory'::regclass and not granted
                 and database = (select oid from pg_database where datname = current_database()))",
        )
        .fetch_one(&mut writer)
        .await
        .unwrap()
    })
    .await;
    // The write waits behind the migration, which gives up first. The reader keeps its lock.
    writer
        .execute("set statement_timeout = '30s'; update inventory set quantity = 1")
        .await
        .unwrap();
    migrating.says("a migration waits for a lock").await;
    reading.rollback().await.unwrap();
    migrating.says("Applied ").await;
    assert_eq!(migrating.ends().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_run_through_a_transaction_pooler() {
    let database = servers::empty_database().await;
    let pooler = PgBouncer::start(servers::postgres(), "postgres", &all_documented()).await;
    let url = pooler.url(&database.name);
    let (one, other) = tokio::join!(migrate(&url, &[]), migrate(&url, &[]));
    let mut output = [one.out.as_str(), other.out.as_str()];
    output.sort_unstable();
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?} {other:?}");
    assert!(output[0].starts_with("Applied "), "{output:?}");
    assert_eq!(output[1], "The schema is up to date.\n");
    assert_eq!(migrate(&url, &["--check"]).await.code, Some(0));
}

#[tokio::test]
async fn modified_migration_is_rejected() {
    let app = TestApp::start().await;
    sqlx::query("update _sqlx_migrations set checksum = '' where version = 1")
        .execute(&app.pool)
        .await
        .unwrap();
    let output = migrate(&app.database_url, &[]).await;
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains("has been modified"), "{}", output.err);
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
async fn migrate_fails_for_an_unknown_database() {
    let output = migrate(&servers::postgres().url("no_such_database"), &[]).await;
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains("no_such_database"), "{}", output.err);
}

#[tokio::test]
async fn wait_for_waits_until_the_database_exists() {
    let url = servers::postgres().url("late");
    let mut command = afforo(&["migrate", "--wait-for", "60"]);
    let mut migrating = Running::start(command.env("DATABASE_URL", &url));
    migrating.says("waiting for the database").await;
    let mut admin = PgConnection::connect(&servers::postgres().url("postgres"))
        .await
        .unwrap();
    admin.execute("create database late").await.unwrap();
    migrating.says("Applied ").await;
    assert_eq!(migrating.ends().await.code(), Some(0));
    admin.execute("drop database late with (force)").await.unwrap();
}

#[tokio::test]
async fn wait_for_fails_after_its_time() {
    let url = servers::postgres().url("never");
    for command in [&["migrate"][..], &["serve", "127.0.0.1:0"], &["worker"]] {
        let mut line = command.to_vec();
        line.extend(["--wait-for", "1"]);
        let output = run(afforo(&line).env("DATABASE_URL", &url)).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        let why = "error: the database cannot be reached, after 1 s: ";
        assert!(
            output.err.contains(why) && output.err.contains("\"never\""),
            "{}",
            output.err
        );
    }
}

#[tokio::test]
async fn newer_schema_is_left_unchanged_and_served() {
    let app = TestApp::start().await;
    add_newer(&app.pool).await;
    let check = migrate(&app.database_url, &["--check"]).await;
    assert_eq!(
        (check.code, check.out.as_str()),
        (Some(0), "newer: 9999 from the future\n")
    );
    let before = contents(&app.pool).await;
    let migrated = migrate(&app.database_url, &[]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    assert_eq!(
        migrated.out,
        "The schema is newer than this release, and was left as it is: 9999 from the future.\n"
    );
    assert_eq!(contents(&app.pool).await, before);

    for args in [
        &["serve", "127.0.0.1:0"][..],
        &["serve", "127.0.0.1:0", "--migrate"],
    ] {
        let mut command = afforo(args);
        on(&mut command, &app.database_url, app.redis.url());
        let mut server = Running::start(&mut command);
        let output = server.says("the schema is newer than this release").await;
        assert!(
            output.contains("WARN") && output.contains("9999 from the future"),
            "{output}"
        );
        let url = format!("http://{}/api/products/", server.address().await);
        assert_eq!(send(client().get(url)).await.status, 200);
    }
}

#[tokio::test]
async fn older_release_does_not_fill_a_gap_in_a_newer_schema() {
    let app = TestApp::start().await;
    add_newer(&app.pool).await;
    let last = "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations where version < 9999)
                returning version || ' ' || description";
    let last: String = sqlx::query_scalar(last).fetch_one(&app.pool).await.unwrap();
    let migrated = migrate(&app.database_url, &[]).await;
    assert_eq!((migrated.code, migrated.out.as_str()), (Some(1), ""));
    assert_eq!(
        migrated.err,
        format!(
            "error: the schema has migrations of a newer release (9999 from the future), but lacks {last}: \
             migrate with the newer release\n"
        )
    );
    let check = migrate(&app.database_url, &["--check"]).await;
    assert_eq!(check.code, Some(1));
    assert_eq!(
        check.out,
        format!("missing: {last}\nnewer: 9999 from the future\n")
    );
}

#[tokio::test]
async fn server_warns_of_missing_migrations() {
    let database = servers::empty_database().await;
    let mut command = afforo(&["serve", "127.0.0.1:0"]);
    let mut server = Running::start(command.env("DATABASE_URL", database.url()));
    let output = server.says("the schema lacks 1 catalogue, 2 orders").await;
    assert!(output.contains("run `afforo migrate`"), "{output}");
}

/// Records a migration of a newer release.
async fn add_newer(pool: &PgPool) {
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'from the future', true, '', 0)",
    )
    .execute(pool)
    .await
    .unwrap();
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
