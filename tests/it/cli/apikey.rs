//! `afforo apikey`

use afforo::{
    auth::{Scope, Stores, api_key::NewKey},
    config::{ApiAuth, ApiAuthSetting, HttpSettings},
};
use secrecy::ExposeSecret;
use tokio::process::Command;

use crate::support::{
    app::{TestApp, client, production, send},
    program::{Running, afforo, on, run},
};

/// A command with the database and the secret of a server.
fn with_secret(app: &TestApp, args: &[&str]) -> Command {
    let mut command = afforo(args);
    command.env("DATABASE_URL", &app.database_url);
    command.env("SECRET_KEY", production().secret_key.unwrap().expose_secret());
    command
}

#[tokio::test]
async fn api_key_of_the_command_line_is_accepted_until_revoked() {
    let app = TestApp::start_with(HttpSettings {
        api_auth: ApiAuthSetting(Some(ApiAuth::All)),
        ..production()
    })
    .await;
    let create = [
        "apikey",
        "create",
        "--name",
        "Till 7",
        "--scopes",
        "catalog:read,stats",
        "--expires",
        "90d",
    ];
    let made = run(&mut with_secret(&app, &create)).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let key = made.out.trim();
    assert!(
        key.starts_with("afk_1_") && made.out.lines().count() == 1,
        "{}",
        made.out
    );
    let read = app.request(reqwest::Method::GET, "/api/stores/").bearer_auth(key);
    assert_eq!(send(read).await.status, 200);

    let listed = run(&mut with_secret(&app, &["apikey", "list"])).await.out;
    assert!(
        listed.starts_with("1  Till 7  good  scopes catalog:read,stats  stores all"),
        "{listed}"
    );
    assert!(!listed.contains(key.split('_').nth(2).unwrap()));
    let revoked = run(&mut with_secret(&app, &["apikey", "revoke", "1"])).await;
    assert_eq!(
        (revoked.code, revoked.out.as_str()),
        (Some(0), "revoked: 1 Till 7\n")
    );
    let again = run(&mut with_secret(&app, &["apikey", "revoke", "1"])).await;
    assert_eq!(again.code, Some(1));
    assert!(
        again.err.contains("there is no key 1 that is not revoked yet"),
        "{}",
        again.err
    );
    let log: Vec<String> =
        sqlx::query_scalar("select actor || ' ' || action || ' ' || subject from audit_log order by id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(log, ["system key.created key:1", "system key.revoked key:1"]);
}

#[tokio::test]
async fn rejected_keys_are_logged_with_a_reason_and_without_the_key() {
    let app = TestApp::start().await;
    let mut command = with_secret(&app, &["serve", "127.0.0.1:0"]);
    on(&mut command, &app.database_url, app.redis.url());
    command.env("API_AUTH", "all").env("RUST_LOG", "debug");
    let mut server = Running::start(&mut command);
    let url = format!("http://{}/api/stores/", server.address().await);
    let (good, narrow) = (
        app.key(&[Scope::CatalogRead], Stores::All).await,
        app.key(&[Scope::Stats], Stores::All).await,
    );
    let unknown = format!("{good}x");
    let ask = async |key: &str| send(client().get(&url).bearer_auth(key)).await.status.as_u16();
    assert_eq!(send(client().get(&url)).await.status, 401);
    assert_eq!(
        (ask(&unknown).await, ask(&narrow).await, ask(&good).await),
        (401, 403, 200)
    );
    for reason in ["no_key", "unknown_key", "scope"] {
        let line = server.says(&format!("reason=\"{reason}\"")).await;
        assert!(line.contains("WARN") && line.contains("127.0.0.1"), "{line}");
    }
    let output = server.output();
    for key in [&good, &narrow] {
        assert!(!output.contains(key.split('_').nth(2).unwrap()), "{output}");
    }
}

#[tokio::test]
async fn invalid_api_key_options_are_rejected() {
    let app = TestApp::start().await;
    let create = |more: &[&'static str]| {
        let args: Vec<&str> = ["apikey", "create"].iter().chain(more).copied().collect();
        with_secret(&app, &args)
    };
    let named = ["--name", "Till 7"];
    let unknown = run(&mut create(&[&named[..], &["--scopes", "orders"]].concat())).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("orders:write"), "{}", unknown.err);
    assert_eq!(run(&mut create(&named)).await.code, Some(2));
    assert_eq!(
        run(&mut create(&["--name", " ", "--scopes", "stats"])).await.code,
        Some(2)
    );
    for name in ["Till\n7", "Till \u{1b}[2J", "Till\u{7f}7"] {
        let refused = run(&mut create(&["--name", name, "--scopes", "stats"])).await;
        assert_eq!(refused.code, Some(2), "{name:?}");
        assert!(
            refused.err.contains("without control characters"),
            "{}",
            refused.err
        );
        assert!(!refused.err.contains('\u{1b}'), "{}", refused.err);
    }
    let past = [&named[..], &["--scopes", "stats", "--expires", "2020-01-01"]].concat();
    let past = run(&mut create(&past)).await;
    assert_eq!(past.code, Some(1));
    assert!(past.err.contains("--expires is in the past"), "{}", past.err);
    let nowhere = run(&mut create(
        &[&named[..], &["--scopes", "stats", "--stores", "77"]].concat(),
    ))
    .await;
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.contains("there is no store 77"), "{}", nowhere.err);
    let unsigned = run(create(&[&named[..], &["--scopes", "stats"]].concat()).env_remove("SECRET_KEY")).await;
    assert_eq!(unsigned.code, Some(1));
    assert!(unsigned.err.contains("SECRET_KEY is not set"), "{}", unsigned.err);
    let keys: i64 = sqlx::query_scalar("select count(*) from api_key")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn control_characters_in_key_names_are_escaped() {
    let app = TestApp::start().await;
    let new = NewKey {
        name: "Till \u{1b}[2J\n7".to_owned(),
        scopes: [Scope::Stats].into_iter().collect(),
        stores: Stores::All,
        expires_at: None,
    };
    // A key as a previous version created it.
    app.key_of(&new).await;
    for args in [&["apikey", "list"][..], &["apikey", "revoke", "1"]] {
        let output = run(&mut with_secret(&app, args)).await;
        assert!(output.out.contains(r"Till \u{1b}[2J\n7"), "{}", output.out);
        assert!(!output.out.contains('\u{1b}'), "{}", output.out);
    }
}
