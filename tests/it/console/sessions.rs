//! Sessions: their cookie, and when they end.

use afforo::{auth::Role, config::HttpSettings};
use reqwest::{Method, RequestBuilder};

use super::{Browser, PASSWORD, TestApp, account, browser, count, execute, production, send};

#[tokio::test]
async fn session_cookie_is_host_bound_and_secure_except_on_loopback() {
    const HOST: &[&str] = &[
        "__Host-afforo-session",
        "HttpOnly",
        "Path=/",
        "SameSite=Lax",
        "Secure",
    ];
    const PLAIN: &[&str] = &["afforo-session", "HttpOnly", "Path=/admin/", "SameSite=Lax"];
    for (debug, scheme, host, expected) in [
        (false, "https", "shop.example", HOST),
        (false, "http", "shop.example", HOST),
        (false, "http", "192.0.2.1:8000", HOST),
        (false, "https", "localhost", HOST),
        (true, "https", "shop.example", HOST),
        (false, "http", "localhost:8000", PLAIN),
        (false, "http", "LOCALHOST.", PLAIN),
        (false, "http", "127.0.0.1:8000", PLAIN),
        (false, "http", "[::1]:8000", PLAIN),
        (true, "http", "shop.example", PLAIN),
    ] {
        let app = TestApp::start_with(HttpSettings {
            debug,
            allowed_hosts: "*".parse().unwrap(),
            ..production()
        })
        .await;
        account(&app, "ada", Role::Viewer, None).await;
        let as_browser =
            |request: RequestBuilder| send(request.header("host", host).header("x-forwarded-proto", scheme));
        let mut browser = Browser::new(&app);
        let form = browser.form("/admin/login/", &[("username", "ada"), ("password", PASSWORD)]);
        let answer = as_browser(form).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        let cookie = answer.header("set-cookie").to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(value.len() > 70, "{value}");
        let mut found: Vec<_> = attributes.split("; ").collect();
        found.sort_unstable();
        found.insert(0, name);
        assert_eq!(found, expected, "{debug} {scheme} {host}");
        // A neighbouring domain could set the plain one.
        let plain = if expected == HOST { 303 } else { 200 };
        for (name, status) in [(HOST[0], 200), (PLAIN[0], plain)] {
            browser.cookie = Some(format!("{name}={value}"));
            let page = as_browser(browser.request(Method::GET, "/admin/")).await;
            assert_eq!(page.status, status, "{name} {scheme} {host}");
        }
        browser.cookie = Some(pair.to_owned());
        let left = as_browser(browser.form("/admin/logout/", &[])).await;
        let removed = left.header("set-cookie");
        assert!(removed.starts_with(&format!("{}=;", expected[0])), "{removed}");
        assert!(removed.contains(expected[2]), "{removed}");
        assert_eq!(removed.contains("Secure"), expected == HOST, "{removed}");
    }
}

#[tokio::test]
async fn login_creates_a_new_session_and_ends_the_previous_one() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Viewer).await;
    let first = ada.cookie.clone();
    ada.page("/admin/").await;
    ada.enter("viewer", PASSWORD).await;
    assert_ne!(ada.cookie, first);
    ada.page("/admin/").await;
    assert_eq!(count(&app, "select count(*) from session").await, 1);
    ada.cookie = first;
    assert_eq!(ada.get("/admin/").await.status, 303);
}

#[tokio::test]
async fn forged_session_cookie_is_rejected() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Viewer).await;
    let cookie = ada.cookie.clone().unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    let flipped = if value.starts_with('a') { "b" } else { "a" };
    for forged in [
        format!("{name}={flipped}{}", &value[1..]),
        format!("{name}={}", &value[44..]),
        format!("{name}=x"),
    ] {
        ada.cookie = Some(forged);
        assert_eq!(ada.get("/admin/").await.status, 303);
    }
    // What is kept is no cookie.
    let kept: Vec<u8> = sqlx::query_scalar("select token_hash from session")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(kept.len(), 32);
    ada.cookie = Some(cookie);
    ada.page("/admin/").await;
}

#[tokio::test]
async fn session_ends_after_12_idle_hours_and_after_14_days() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Viewer).await;
    // Use keeps it, and is noted once a minute.
    execute(
        &app,
        "update session set last_seen_at = now() - interval '11 hours 59 minutes'",
    )
    .await;
    ada.page("/admin/").await;
    let seen = "select count(*) from session where last_seen_at > now() - interval '10 seconds'";
    assert_eq!(count(&app, seen).await, 1);
    execute(
        &app,
        "update session set last_seen_at = now() - interval '50 seconds'",
    )
    .await;
    ada.page("/admin/").await;
    assert_eq!(count(&app, seen).await, 0);
    execute(
        &app,
        "update session set last_seen_at = now() - interval '12 hours 1 second'",
    )
    .await;
    assert_eq!(ada.get("/admin/").await.status, 303);

    ada.enter("viewer", PASSWORD).await;
    let days = "select count(*) from session where expires_at = created_at + interval '14 days'";
    assert_eq!(count(&app, days).await, 1);
    execute(&app, "update session set expires_at = now()").await;
    assert_eq!(ada.get("/admin/").await.status, 303);
    // The next login forgets it.
    Browser::log_in(&app, "viewer").await;
    assert_eq!(
        count(&app, "select count(*) from session where expires_at <= now()").await,
        0
    );
}

#[tokio::test]
async fn changed_role_or_deleted_account_applies_to_the_next_request() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Superuser).await;
    assert!(ada.page("/admin/").await.contains("/admin/access/"));
    execute(&app, "update account set role = 'viewer'").await;
    assert!(!ada.page("/admin/").await.contains("/admin/access/"));
    execute(&app, "update account set is_active = false").await;
    assert_eq!(ada.get("/admin/").await.status, 303);
    execute(&app, "update account set is_active = true").await;
    ada.page("/admin/").await;
    execute(&app, "delete from account").await;
    assert_eq!(ada.get("/admin/").await.status, 303);
}
