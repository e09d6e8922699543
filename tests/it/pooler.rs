//! `PgBouncer` in transaction mode: nothing depends on a session, and its settings stay in force.

use afforo::auth::Role;
use futures::future::join_all;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::Command;

use crate::{
    console::browser,
    support::{
        app::TestApp,
        pgbouncer::{PgBouncer, all_documented, create_role, documented, role_settings},
        program::{Running, afforo, on, run},
        servers,
    },
};

/// Pages whose lists are planned for each request, and so use statements without a name.
const PAGES: [&str; 10] = [
    "/admin/",
    "/admin/orders/?q=main&from=2020-01-01",
    "/admin/orders/export/",
    "/admin/orders/new/products/?store_id=1&q=lamp",
    "/admin/products/?q=lamp",
    "/admin/stock/?q=lamp",
    "/admin/stores/",
    "/admin/categories/?q=all",
    "/admin/audit/",
    "/admin/system/",
];

/// A server or worker on a pooler.
fn program(app: &TestApp, args: &[&str], url: &str) -> Command {
    let mut command = afforo(args);
    on(&mut command, url, app.redis.url());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_without_role_settings_names_the_commands_that_help() {
    let app = TestApp::start().await;
    create_role(servers::postgres(), "unset", &[]).await;
    let pooler = PgBouncer::start(servers::postgres(), "unset", &all_documented()).await;
    let url = pooler.url(&app.database.name);
    let mut errors = Vec::new();
    for args in [&["serve", "127.0.0.1:0"][..], &["worker"]] {
        let refused = run(&mut program(&app, args, &url)).await;
        assert_eq!(refused.code, Some(1), "{}", refused.err);
        errors.push(refused.err);
    }
    assert_eq!(errors[0], errors[1]);
    assert!(errors[0].contains("statement_timeout is 0"), "{}", errors[0]);
    let commands = errors[0].split('`').nth(1).unwrap();
    // PgBouncer keeps the time zone of its clients, and the test's server has no JIT compilation.
    for setting in &role_settings()[..4] {
        let command = format!("ALTER ROLE unset SET {setting};");
        assert!(commands.contains(&command), "{command} is not in {commands}");
    }

    // Operators may set shorter timeouts, but no longer ones.
    let commands = format!("{commands} alter role unset set lock_timeout = '5s'");
    (&app.pool).execute(AssertSqlSafe(commands)).await.unwrap();
    pooler.reconnect().await;
    let mut server = Running::start(&mut program(&app, &["serve", "127.0.0.1:0"], &url));
    server.address().await;
    (&app.pool)
        .execute("alter role unset set lock_timeout = '11s'")
        .await
        .unwrap();
    pooler.reconnect().await;
    let refused = run(&mut program(&app, &["worker"], &url)).await;
    assert!(
        refused.err.contains("settings (lock_timeout is 11000)"),
        "{}",
        refused.err
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_names_the_setting_that_the_pooler_lacks() {
    let app = TestApp::start().await;
    create_role(servers::postgres(), "plain", &role_settings()).await;
    let unkept = documented(&["pool_mode", "ignore_startup_parameters"]) + "\nmax_prepared_statements = 0";
    for (settings, message) in [
        (
            documented(&["pool_mode", "max_prepared_statements"]),
            documented(&["ignore_startup_parameters"]),
        ),
        (unkept, documented(&["max_prepared_statements"])),
    ] {
        let pooler = PgBouncer::start(servers::postgres(), "plain", &settings).await;
        let url = pooler.url(&app.database.name);
        let refused = run(&mut program(&app, &["serve", "127.0.0.1:0"], &url)).await;
        assert_eq!(refused.code, Some(1), "{}", refused.err);
        assert!(refused.err.contains(&message), "{}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_through_a_transaction_pooler() {
    let direct = TestApp::start().await;
    create_role(servers::postgres(), "pooled", &role_settings()).await;
    let mut pooler = PgBouncer::start(servers::postgres(), "pooled", &all_documented()).await;
    let url = pooler.url(&direct.database.name);
    let app = direct.beside_on(&url).await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 1000).await;
    record_settings(&direct).await;
    for _ in 0..8 {
        app.order(store, &[(product, 1)]).await.created();
    }
    for path in [
        "/api/orders/",
        "/api/orders/1/",
        "/api/orders/stats/",
        "/api/products/search/?q=lamp",
        "/api/products/search/?q=la&min_price=1",
        "/api/products/autocomplete/?q=lamp",
        "/api/inventory/1/movements/",
        "/health/ready/",
    ] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    let mut operator = browser(&app, Role::Superuser).await;
    // Each round takes other sessions.
    for page in PAGES.repeat(3) {
        operator.page(page).await;
    }
    assert_eq!(
        recorded_settings(&direct).await,
        ["force_generic_plan off 2s 30s 30s 2s UTC off"]
    );

    let mut worker = Running::start(&mut program(&app, &["worker"], &url));
    for order in 1..=8 {
        worker
            .says(&format!("order confirmation sent order_id={order} "))
            .await;
    }
    worker.signal(Signal::TERM);
    assert_eq!(worker.ends().await.code(), Some(0), "{}", worker.output());

    // No transaction has left a setting in a session of the pooler.
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let mut session = PgConnection::connect(&url).await.unwrap();
        session.execute("begin").await.unwrap();
        let settings: String = sqlx::query_scalar(
            "select concat_ws(' ', current_setting('plan_cache_mode'), current_setting('enable_seqscan'), current_setting('lock_timeout'))",
        )
        .fetch_one(&mut session)
        .await
        .unwrap();
        assert_eq!(settings, "auto on 10s");
        sessions.push(session);
    }
    drop(sessions);

    pooler.kill();
    pooler.restart().await;
    app.order(store, &[(product, 1)]).await.created();
    assert!(direct.unbalanced().await.is_empty());
}

/// Records the settings of transactions that place orders.
async fn record_settings(app: &TestApp) {
    app.pool
        .execute(
            "create table recorded (settings text);
             create function record_settings() returns trigger language plpgsql as $$
             begin
                 insert into recorded select string_agg(current_setting(name), ' ' order by n)
                 from unnest(array['plan_cache_mode', 'enable_seqscan', 'lock_timeout', 'statement_timeout',
                     'idle_in_transaction_session_timeout', 'client_connection_check_interval', 'timezone', 'jit'])
                     with ordinality s (name, n);
                 return null;
             end $$;
             create trigger record_settings after insert on orders for each statement execute function record_settings()",
        )
        .await
        .unwrap();
}

async fn recorded_settings(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select distinct settings from recorded")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_pooler_is_503_until_it_has_room() {
    let direct = TestApp::start().await;
    let (store, product) = (
        direct.store("Main Store").await,
        direct.product("Lamp", "1.50").await,
    );
    direct.stock(store, product, 10).await;
    create_role(servers::postgres(), "crowded", &role_settings()).await;
    let no_session = all_documented() + "\nquery_wait_timeout = 1";
    let no_client = all_documented() + "\nmax_client_conn = 4";
    for settings in [no_session, no_client] {
        let pooler = PgBouncer::start(servers::postgres(), "crowded", &settings).await;
        let url = pooler.url(&direct.database.name);
        let mut others = Vec::new();
        for _ in 0..4 {
            let mut other = PgConnection::connect(&url).await.unwrap();
            other.execute("begin").await.unwrap();
            others.push(other);
        }
        let app = direct.beside_on(&url).await;
        for refused in [
            app.get("/api/stores/").await,
            app.order(store, &[(product, 1)]).await,
        ] {
            assert_eq!(refused.status, 503, "{}", refused.text);
            assert_eq!(refused.header("retry-after"), "1");
        }
        for other in others {
            other.close().await.unwrap();
        }
        assert_eq!(app.get("/api/stores/").await.status, 200);
        app.order(store, &[(product, 1)]).await.created();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect_ends_refusals_after_a_changed_column_type() {
    let direct = TestApp::start().await;
    create_role(servers::postgres(), "upgraded", &role_settings()).await;
    let pooler = PgBouncer::start(servers::postgres(), "upgraded", &all_documented()).await;
    let app = direct.beside_on(&pooler.url(&direct.database.name)).await;
    let path = format!("/api/stores/{}/", app.store("Main Store").await);
    // Enough to reach every session of the pooler.
    let reads = async || join_all((0..8).map(|_| app.get(&path))).await;
    assert!(reads().await.iter().all(|read| read.status == 200));
    direct
        .pool
        .execute("alter table store alter location type varchar(300)")
        .await
        .unwrap();
    for read in reads().await {
        assert!([200, 503].contains(&read.status.as_u16()), "{}", read.text);
    }
    pooler.reconnect().await;
    assert!(reads().await.iter().all(|read| read.status == 200));
}

#[tokio::test]
async fn migrate_seed_and_check_use_the_direct_url() {
    let database = servers::empty_database().await;
    for args in [
        &["migrate"][..],
        &["seed", "--products", "10", "--stores", "2"],
        &["check"],
        &["migrate", "--check"],
    ] {
        let mut command = afforo(args);
        command.env("DATABASE_URL", "postgres://postgres@127.0.0.1:1/nothing");
        let done = run(command.env("MIGRATE_DATABASE_URL", database.url())).await;
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.err);
    }
}
