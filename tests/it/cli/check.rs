//! `afforo check`

mod cases;

use std::collections::BTreeSet;

use afforo::check;
use sqlx::Executor;

use self::cases::CASES;
use super::{TestApp, afforo, run};
use crate::support::program::Output;

async fn check_output(app: &TestApp) -> Output {
    run(afforo(&["check"]).env("DATABASE_URL", &app.database_url)).await
}

#[tokio::test]
async fn check_passes_for_consistent_data() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
    app.stock(store, lamp, 12).await;
    app.order(store, &[(lamp, 3)]).await.created();
    let output = check_output(&app).await;
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""));
    assert!(
        output.out.lines().count() > 5 && output.out.lines().all(|line| line.starts_with("ok     ")),
        "{}",
        output.out
    );
}

/// A store with two products, one with a confirmed and a rejected order.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
    app.stock(store, lamp, 12).await;
    app.stock(store, app.product("Chair", "75.00").await, 5).await;
    app.order(store, &[(lamp, 3)]).await.created();
    assert_eq!(app.order(store, &[(lamp, 99)]).await.status, 200);
    app
}

#[tokio::test]
async fn every_rule_reports_the_record_that_breaks_it() {
    let (mut rules, mut reported) = (BTreeSet::new(), BTreeSet::new());
    let app = shop().await;
    // Ids that a case takes from sequences are not given back with its transaction.
    let restart: String = sqlx::query_scalar(
        "select string_agg(format('alter sequence %I restart with %s', sequencename, coalesce(last_value + 1, start_value)), ';')
         from pg_sequences",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    for (wrong, begins, record) in CASES {
        let mut case = app.pool.begin().await.unwrap();
        case.execute(sqlx::AssertSqlSafe(restart.clone())).await.unwrap();
        case.execute(wrong).await.unwrap();
        let checked = check::run_within(&mut case).await.unwrap();
        case.rollback().await.unwrap();
        rules.extend(checked.iter().map(|checked| checked.rule));
        let broken = checked.iter().find(|checked| checked.rule.starts_with(begins));
        let broken = broken.unwrap_or_else(|| panic!("no rule begins with {begins}"));
        assert!(broken.broken > 0, "{wrong}: {begins}");
        assert!(
            broken.examples.iter().any(|example| example == record),
            "{wrong}: {broken:?}"
        );
        reported.insert(broken.rule);
    }
    assert_eq!(reported, rules);
}

#[tokio::test]
async fn broken_rule_is_counted_with_an_example_and_exit_code_1() {
    let app = shop().await;
    app.pool
        .execute("insert into outbox (order_ids) select array[n] from generate_series(11, 15) n")
        .await
        .unwrap();
    let output = check_output(&app).await;
    assert_eq!(output.code, Some(1));
    let broken = "BROKEN no pending or rejected order has a confirmation or is in the outbox: 5 times, such as order 1";
    assert!(output.out.contains(broken), "{}", output.out);
    assert_eq!(output.out.matches("BROKEN").count(), 1, "{}", output.out);
}

#[tokio::test]
async fn check_without_a_schema_asks_for_migrate() {
    let database = crate::support::servers::empty_database().await;
    let output = run(afforo(&["check"]).env("DATABASE_URL", database.url())).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains("run `afforo migrate` first"),
        "{}",
        output.err
    );
}
