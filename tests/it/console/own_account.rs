//! `/admin/account/`: one's own account.

use afforo::auth::Role;

use super::{Browser, PASSWORD, TestApp, account, audit_log, browser, count, execute};

const NEW: &str = "another long password";

fn change<'a>(current: &'a str, new: &'a str, again: &'a str) -> [(&'a str, &'a str); 3] {
    [("current", current), ("password", new), ("again", again)]
}

#[tokio::test]
async fn changed_password_ends_all_other_sessions() {
    let app = TestApp::start().await;
    let mut here = browser(&app, Role::Staff).await;
    let mut there = Browser::log_in(&app, "staff").await;
    let done = here
        .post("/admin/account/password/", &change(PASSWORD, NEW, NEW))
        .await;
    assert_eq!(done.header("location"), "/admin/account/", "{}", done.text);
    assert!(
        here.page("/admin/account/")
            .await
            .contains("Your password was changed.")
    );
    assert_eq!(there.get("/admin/").await.status, 303);
    assert_eq!(there.enter("staff", PASSWORD).await.status, 400);
    assert_eq!(there.enter("staff", NEW).await.status, 303);
    let log = audit_log(&app).await;
    assert!(
        log.contains(&"account:1 password.changed account:1".to_owned()),
        "{log:?}"
    );
    assert!(!log.concat().contains("argon2") && !log.concat().contains(NEW));
}

#[tokio::test]
async fn changing_the_password_needs_the_current_and_a_strong_new_one() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Viewer).await;
    for (form, said) in [
        (change("wrong password", NEW, NEW), "This is not your password."),
        (change(PASSWORD, "short", "short"), "This password is too short"),
        (
            change(PASSWORD, "password123", "password123"),
            "This password is one of the commonest",
        ),
        (
            change(PASSWORD, NEW, "something else"),
            "The two passwords differ.",
        ),
    ] {
        let refused = ada.post("/admin/account/password/", &form).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(said), "{said}: {}", refused.text);
    }
    for _ in 0..4 {
        ada.post("/admin/account/password/", &change("wrong password", NEW, NEW))
            .await;
    }
    let refused = ada
        .post("/admin/account/password/", &change(PASSWORD, NEW, NEW))
        .await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.text.contains("Too many logins have failed."),
        "{}",
        refused.text
    );
    Browser::new(&app).enter("viewer", NEW).await;
    assert_eq!(count(&app, "select count(*) from session").await, 1);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_at_once() {
    let app = TestApp::start().await;
    let mut here = browser(&app, Role::Viewer).await;
    let mut there = Browser::log_in(&app, "viewer").await;
    account(&app, "eve", Role::Viewer, None).await;
    let mut eve = Browser::log_in(&app, "eve").await;
    execute(&app, "update session set user_agent = 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0' where account_id = 1").await;
    let page = here.page("/admin/account/").await;
    assert_eq!(page.matches("Firefox on Linux</span>").count(), 2);
    assert_eq!(page.matches("This browser").count(), 1);
    assert!(page.contains("127.0.0.1"));
    // Of the two, the one that is not this one.
    let others = page
        .split("<tr>")
        .find(|row| row.contains("Firefox") && !row.contains("This browser"))
        .unwrap();
    let name = others
        .split_once(r#"name="session" value=""#)
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    // Nobody ends another's.
    eve.post("/admin/account/sessions/", &[("session", name)]).await;
    there.page("/admin/").await;
    let done = here.post("/admin/account/sessions/", &[("session", name)]).await;
    assert_eq!(done.header("location"), "/admin/account/");
    assert_eq!(there.get("/admin/").await.status, 303);
    here.page("/admin/").await;

    there.enter("viewer", PASSWORD).await;
    let asked = here.page("/admin/account/everywhere/").await;
    assert!(
        asked.contains("Ends all your sessions") && asked.contains(r#"action="/admin/account/everywhere/""#)
    );
    there.page("/admin/").await;
    let done = here.post("/admin/account/everywhere/", &[]).await;
    assert_eq!(
        (done.header("location"), here.cookie.as_deref()),
        ("/admin/login/", None)
    );
    assert_eq!(there.get("/admin/").await.status, 303);
    eve.page("/admin/").await;
    assert_eq!(count(&app, "select count(*) from session").await, 1);
}
