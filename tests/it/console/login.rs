//! `/admin/login/` and `/admin/logout/`, and the session between them.

use afforo::{auth::Role, config::HttpSettings};
use futures::future::join_all;
use reqwest::Method;

use super::{Browser, PASSWORD, TestApp, account, audit_log, browser, count, execute, production, send};

const WRONG: &str = "Username or password is wrong, or the account is not active.";

#[tokio::test]
async fn anonymous_request_redirects_to_login_with_next() {
    let app = TestApp::start().await;
    account(&app, "ada", Role::Viewer, None).await;
    let mut browser = Browser::new(&app);
    let home = browser.get("/admin/").await;
    assert_eq!(
        (home.status.as_u16(), home.header("location")),
        (303, "/admin/login/")
    );
    let page = browser.get("/admin/orders/?status=PENDING&page=2").await;
    let login = "/admin/login/?next=%2Fadmin%2Forders%2F%3Fstatus%3DPENDING%26page%3D2";
    assert_eq!((page.status.as_u16(), page.header("location")), (303, login));
    let form = browser.page(login).await;
    assert!(
        form.contains(r#"name="next" value="/admin/orders/?status=PENDING&#38;page=2""#),
        "{form}"
    );
    let fields = [
        ("username", "ada"),
        ("password", PASSWORD),
        ("next", "/admin/orders/?status=PENDING&page=2"),
    ];
    let done = browser.post("/admin/login/", &fields).await;
    assert_eq!(done.header("location"), "/admin/orders/?status=PENDING&page=2");
    let again = browser.get(login).await;
    assert_eq!(
        (again.status.as_u16(), again.header("location")),
        (303, "/admin/orders/?status=PENDING&page=2")
    );
    let lost = browser.post("/admin/logout/", &[]).await;
    assert_eq!(
        (lost.status.as_u16(), lost.header("location")),
        (303, "/admin/login/")
    );
    let write = browser.post("/admin/orders/", &[]).await;
    assert_eq!(
        (write.status.as_u16(), write.header("location")),
        (303, "/admin/login/")
    );
}

#[tokio::test]
async fn next_outside_the_console_is_ignored() {
    let app = TestApp::start().await;
    account(&app, "ada", Role::Viewer, None).await;
    for next in [
        "https://evil.example/",
        "//evil.example/admin/",
        "/admin/../api/orders/",
        "/admin/%2e%2e/api/",
        "/api/orders/",
    ] {
        let mut browser = Browser::new(&app);
        let fields = [("username", "ada"), ("password", PASSWORD), ("next", next)];
        assert_eq!(
            browser.post("/admin/login/", &fields).await.header("location"),
            "/admin/",
            "{next}"
        );
        let link = format!("/admin/login/?next={next}");
        assert_eq!(browser.get(&link).await.header("location"), "/admin/", "{next}");
    }
}

#[tokio::test]
async fn unknown_wrong_and_inactive_logins_get_the_same_response() {
    let app = TestApp::start().await;
    account(&app, "ada", Role::Viewer, None).await;
    account(&app, "gone", Role::Viewer, None).await;
    execute(
        &app,
        "update account set is_active = false where username = 'gone'",
    )
    .await;
    let mut pages = Vec::new();
    for (username, password) in [
        ("ada", "wrong password"),
        ("gone", PASSWORD),
        ("nobody", PASSWORD),
        ("ada", ""),
    ] {
        let answer = Browser::new(&app).enter(username, password).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("set-cookie"), "");
        assert!(
            answer.text.contains(WRONG) && !answer.text.contains(PASSWORD),
            "{}",
            answer.text
        );
        pages.push(
            answer
                .text
                .replace(&format!("value=\"{username}\""), "value=\"…\""),
        );
    }
    assert!(pages.iter().all(|page| *page == pages[0]));
    assert_eq!(
        audit_log(&app).await,
        [
            r#"- login.failed account:1 {"username":"ada"}"#,
            r#"- login.failed account:2 {"username":"gone"}"#,
            "- login.failed -",
            r#"- login.failed account:1 {"username":"ada"}"#,
        ]
    );
}

#[tokio::test]
async fn invalid_usernames_are_rejected_like_wrong_ones() {
    let app = TestApp::start().await;
    let long = "a".repeat(150);
    account(&app, &long, Role::Viewer, None).await;
    for username in ["", "nul\0byte", &format!("{long}b"), "<script>alert(1)</script>"] {
        let answer = Browser::new(&app).enter(username, PASSWORD).await;
        assert_eq!(answer.status, 400, "{username}");
        assert!(!answer.text.contains("<script>alert"));
    }
    Browser::log_in(&app, &long).await;
    // Beyond what a password may have, it is not even looked at.
    let endless = "x".repeat(2000);
    assert_eq!(Browser::new(&app).enter(&long, &endless).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_guesses_are_limited_like_sequential_ones() {
    let app = TestApp::start().await;
    account(&app, "ada", Role::Viewer, None).await;
    let guesses =
        (0..12).map(async |number| Browser::new(&app).enter("ada", &format!("guess {number}")).await);
    let answers = join_all(guesses).await;
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((of(400), of(429)), (5, 7));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((800..=900).contains(&wait), "{wait}");
    assert!(
        refused
            .text
            .contains("Too many logins have failed. Try again in 15 minutes."),
        "{}",
        refused.text
    );
    // The right one comes too late as well, and does not lengthen the wait; others go on.
    assert_eq!(Browser::new(&app).enter("ada", PASSWORD).await.status, 429);
    account(&app, "eve", Role::Viewer, None).await;
    Browser::log_in(&app, "eve").await;
    execute(&app, "update login_attempt set at = at - interval '15 minutes'").await;
    // A server that has refused nobody yet: the other one repeats a refusal for some seconds.
    let beside = app.beside().await;
    Browser::log_in(&beside, "ada").await;
    assert_eq!(
        count(&app, "select count(*) from login_attempt where username = 'ada'").await,
        0
    );
    let mut actions = audit_log(&app).await;
    actions.retain(|entry| entry.contains("login.throttled"));
    assert_eq!(actions, ["- login.throttled -"], "once a minute");
}

#[tokio::test]
async fn failed_logins_are_counted_by_address_and_by_username() {
    let behind_proxy = HttpSettings {
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..production()
    };
    let app = TestApp::start_with(behind_proxy).await;
    account(&app, "ada", Role::Viewer, None).await;
    let enter = async |address: &str, username: &str, password: &str| {
        let mut browser = Browser::new(&app);
        let body = format!("username={username}&password={}", password.replace(' ', "+"));
        let request = browser
            .request(Method::POST, "/admin/login/")
            .header("x-forwarded-for", address);
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        browser.send(request).await.status.as_u16()
    };
    execute(&app, "insert into login_attempt (username, address) select 'name ' || n, '192.0.2.1' from generate_series(1, 20) n").await;
    assert_eq!(enter("192.0.2.1", "ada", PASSWORD).await, 429);
    assert_eq!(enter("192.0.2.2", "ada", PASSWORD).await, 303);
    // An IPv6 network is one address.
    execute(&app, "insert into login_attempt (username, address) select 'name ' || n, '2001:db8::/64' from generate_series(1, 20) n").await;
    assert_eq!(enter("2001:db8::7", "ada", PASSWORD).await, 429);
    assert_eq!(enter("2001:db8:0:1::7", "ada", PASSWORD).await, 303);
    execute(&app, "insert into login_attempt (username, address) select 'ada', '198.51.100.' || n from generate_series(1, 50) n").await;
    assert_eq!(enter("192.0.2.3", "ada", PASSWORD).await, 429);
    let from = "select count(*) from session where address = '192.0.2.2'";
    assert_eq!(count(&app, from).await, 1);
}

#[tokio::test]
async fn successful_login_clears_earlier_failures() {
    let app = TestApp::start().await;
    account(&app, "ada", Role::Viewer, None).await;
    for _ in 0..2 {
        for _ in 0..4 {
            assert_eq!(Browser::new(&app).enter("ada", "wrong").await.status, 400);
        }
        Browser::log_in(&app, "ada").await;
    }
}

#[tokio::test]
async fn login_and_logout_are_audited() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    ada.post("/admin/logout/", &[]).await;
    assert_eq!(ada.cookie, None);
    // Twice is once.
    ada.post("/admin/logout/", &[]).await;
    assert_eq!(
        audit_log(&app).await,
        [
            "account:1 login.done account:1",
            "account:1 logout.done account:1"
        ]
    );
    let complete = "select count(*) from audit_log where actor_name = 'staff' and address = '127.0.0.1' and length(request_id) = 36";
    assert_eq!(count(&app, complete).await, 2);
    assert_eq!(count(&app, "select count(*) from session").await, 0);
}

#[tokio::test]
async fn account_logs_in_from_a_known_address_despite_foreign_guesses() {
    let app = TestApp::start_with(HttpSettings {
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..production()
    })
    .await;
    account(&app, "ada", Role::Staff, None).await;
    let from = async |address: String, password: &str| {
        let form = Browser::new(&app).form("/admin/login/", &[("username", "ada"), ("password", password)]);
        send(form.header("x-forwarded-for", address))
            .await
            .status
            .as_u16()
    };
    assert_eq!(from("2001:db8::7".to_owned(), PASSWORD).await, 303);
    for number in 1..=50 {
        assert_eq!(
            from(format!("192.0.2.{number}"), "a guess").await,
            400,
            "{number}"
        );
    }
    assert_eq!(from("192.0.2.99".to_owned(), PASSWORD).await, 429);
    assert_eq!(
        from("2001:db8::8".to_owned(), PASSWORD).await,
        303,
        "of the same network"
    );
}
