//! `/admin/system/`

use afforo::{auth::Role, server::Limits};

use super::{Desk, PASSWORD, account, execute, text_of};
use crate::support::{
    app::{TestApp, client, production},
    program::{Running, afforo, eventually, on},
    redis::RedisServer,
};

#[tokio::test]
async fn page_shows_components_and_configuration_to_superusers_only() {
    let app = TestApp::start().await;
    let html = Desk::of(&app, "superuser", None)
        .await
        .html("/admin/system/")
        .await;
    let text = text_of(&html);
    for part in [
        "PostgreSQL Connected",
        "Redis Connected",
        "Production",
        "8 access Applied",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("No orders are confirmed"),
        "no worker listens: {text}"
    );
    assert!(html.contains("&#60;shown&#62;"), "{html}");
    let store = app.store("North").await;
    let others = [
        ("staff", None),
        ("viewer", None),
        ("superuser", Some(&[store][..])),
    ];
    for (role, stores) in others {
        let html = Desk::of(&app, role, stores).await.html("/admin/system/").await;
        assert!(
            html.contains("Applied") && !html.contains("EXAMPLE") && !html.contains("Configuration"),
            "{role}"
        );
    }
}

#[tokio::test]
async fn missing_and_unknown_migrations_are_shown() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    execute(&app, "delete from _sqlx_migrations where version = 8").await;
    execute(
        &app,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9000, 'of tomorrow', true, '', 0)",
    )
    .await;
    let text = text_of(&desk.html("/admin/system/").await);
    assert!(text.contains("8 access Missing"), "{text}");
    assert!(text.contains("Unknown migrations: 9000 of tomorrow"), "{text}");
}

#[tokio::test]
async fn several_database_hosts_are_shown_with_their_roles() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    assert!(!desk.html("/admin/system/").await.contains("Database hosts"));
    let login = "postgres://postgres@";
    let url = app.database_url.replace(login, &format!("{login}%2Fnowhere:1,"));
    let other = app.beside_on(&url).await;
    eventually("the hosts are known", async || {
        !other.get("/health/ready/").await.body["database_hosts"].is_null()
    })
    .await;
    let desk = Desk::of(&other, "viewer", None).await;
    let text = text_of(&desk.html("/admin/system/").await);
    assert!(
        text.contains("/nowhere:1 Unreachable Not in use")
            && text.contains("afforo-postgres")
            && text.contains(":5432 Primary In use"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_redis_is_shown_as_away() {
    let redis = RedisServer::start();
    let app = TestApp::start_with_redis(&redis.url(0), production(), Limits::default()).await;
    let desk = Desk::of(&app, "viewer", None).await;
    redis.pause();
    let text = text_of(&desk.html("/admin/system/").await);
    redis.resume();
    assert!(
        text.contains("Redis Not connected Redis does not answer."),
        "{text}"
    );
    assert!(
        text.contains("PostgreSQL Connected") && text.contains("Unknown without Redis"),
        "{text}"
    );
}

#[tokio::test]
async fn page_contains_no_secrets_of_the_server() {
    let app = TestApp::start().await;
    account(&app, "root", Role::Superuser, None).await;
    let mut command = afforo(&["serve", "127.0.0.1:0"]);
    on(&mut command, &app.database_url, app.redis.url());
    let separator = if app.database_url.contains('?') { '&' } else { '?' };
    command
        .env(
            "DATABASE_URL",
            format!("{}{separator}application_name=s3cret", app.database_url),
        )
        .env("SECRET_KEY", "s3cret of the tests, long enough")
        .env("DEBUG", "False")
        .env("EMAIL_HOST_PASSWORD", "s3cret")
        .env("EMAIL_HOST_USER", "postman")
        .env("WEBHOOK_URL", "https://example.com/s3cret/")
        .env("WEBHOOK_SECRET", "whsec_czNjcmV0czNjcmV0czNjcmV0czNjcmV0");
    let mut server = Running::start(&mut command);
    let line = server.says("listening on").await;
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();

    let login = client()
        .post(format!("http://{address}/admin/login/"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
        .header("x-forwarded-proto", "https")
        .body(format!("username=root&password={}", PASSWORD.replace(' ', "+")))
        .send()
        .await
        .unwrap();
    let cookie = login.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let page = client()
        .get(format!("http://{address}/admin/system/"))
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(!html.contains("s3cret") && !html.contains("whsec_"), "{html}");
    let text = text_of(&html);
    assert!(
        text.contains("SECRET_KEY set, not shown") && text.contains("WEBHOOK_URL set, not shown"),
        "{text}"
    );
    assert!(
        text.contains("EMAIL_HOST_USER postman") && text.contains("DEBUG False"),
        "{text}"
    );
}
