//! `/admin/access/`: accounts.

use afforo::auth::Role;

use super::{Browser, PASSWORD, TestApp, account, audit_log, browser, count, execute};

const NEW: &str = "/admin/access/accounts/new/";

/// The form of an account that sees all stores.
fn fields<'a>(username: &'a str, role: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("username", username),
        ("role", role),
        ("bound", "all"),
        ("active", "on"),
        ("password", ""),
        ("again", ""),
    ]
}

/// The same with something else in a field.
fn with<'a>(mut fields: Vec<(&'a str, &'a str)>, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value));
    fields
}

/// The form of a new account.
fn new<'a>(username: &'a str, role: &'a str) -> Vec<(&'a str, &'a str)> {
    with(
        with(fields(username, role), "password", PASSWORD),
        "again",
        PASSWORD,
    )
}

#[tokio::test]
async fn only_superusers_manage_accounts_and_keys() {
    let app = TestApp::start().await;
    for role in [Role::Staff, Role::Viewer] {
        let mut browser = browser(&app, role).await;
        for path in [
            "/admin/access/",
            NEW,
            "/admin/access/accounts/1/",
            "/admin/access/keys/",
            "/admin/access/keys/new/",
        ] {
            assert_eq!(browser.get(path).await.status, 403, "{path}");
        }
        for path in [
            NEW,
            "/admin/access/accounts/1/",
            "/admin/access/accounts/1/delete/",
            "/admin/access/keys/new/",
        ] {
            assert_eq!(
                browser.post(path, &new("eve", "superuser")).await.status,
                403,
                "{path}"
            );
        }
    }
    assert_eq!(count(&app, "select count(*) from account").await, 2);
}

#[tokio::test]
async fn created_account_can_log_in() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let mut root = browser(&app, Role::Superuser).await;
    let form = root.page(NEW).await;
    assert!(form.contains("Here") && form.contains("There"));
    let here = here.to_string();
    let bound = with(with(new("ada", "staff"), "bound", "some"), "store", &here);
    let made = root.post(NEW, &bound).await;
    assert_eq!(made.header("location"), "/admin/access/", "{}", made.text);
    let list = root.page("/admin/access/").await;
    assert!(
        list.contains("Account ada created.") && list.contains(">ada</a>") && list.contains(">Here</td>"),
        "{list}"
    );
    let own = Browser::log_in(&app, "ada").await.page("/admin/account/").await;
    assert!(own.contains("Here") && !own.contains("There"), "{own}");
    assert!(own.contains("Staff: manage catalogue, stock and orders"));
    let log = audit_log(&app).await;
    let made = format!(
        r#"account:1 account.created account:2 {{"id":2,"username":"ada","email":"","role":"staff","stores":[{here}],"is_active":true}}"#
    );
    assert!(log.contains(&made), "{log:?}");
    assert_ne!(there.to_string(), here);
}

#[tokio::test]
async fn invalid_account_form_shows_errors_and_keeps_values() {
    let app = TestApp::start().await;
    let store = app.store("Here").await.to_string();
    let mut root = browser(&app, Role::Superuser).await;
    for (form, said) in [
        (new("superuser", "viewer"), "That username is already taken."),
        (new("a/b", "viewer"), "A username has letters, digits"),
        (new("ada", "king"), "expected superuser, staff or viewer."),
        (
            with(new("ada", "viewer"), "email", "nowhere"),
            "This is no email address.",
        ),
        (
            with(new("ada", "viewer"), "again", "other"),
            "The two passwords differ.",
        ),
        (
            with(new("ada", "viewer"), "bound", "some"),
            "Choose the stores that the account is bound to",
        ),
        (
            with(with(new("ada", "viewer"), "bound", "some"), "store", "99999"),
            "Store 99999 does not exist.",
        ),
        (
            with(with(new("ada", "viewer"), "bound", "some"), "more_stores", "one"),
            "“one” is not a store id.",
        ),
        (
            with(with(new("ada", "superuser"), "bound", "some"), "store", &store),
            "A superuser looks after all stores",
        ),
    ] {
        let refused = root.post(NEW, &form).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(said), "{said}: {}", refused.text);
        let typed = format!(r#"value="{}""#, form[0].1);
        assert!(
            refused.text.contains(&typed) || form[0].0 != "username",
            "{}",
            refused.text
        );
        assert!(!refused.text.contains(PASSWORD));
    }
    assert_eq!(count(&app, "select count(*) from account").await, 1);
}

#[tokio::test]
async fn account_change_is_audited_and_a_new_password_ends_sessions() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    let ada = account(&app, "ada", Role::Viewer, None).await;
    let path = format!("/admin/access/accounts/{}/", ada.id);
    let mut theirs = Browser::log_in(&app, "ada").await;
    let saved = root.post(&path, &fields("ada.l", "staff")).await;
    assert_eq!(saved.header("location"), "/admin/access/", "{}", saved.text);
    assert!(theirs.page("/admin/").await.contains("ada.l"));
    let change: (String, String) =
        sqlx::query_as("select before::text, after::text from audit_log where action = 'account.changed'")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(
        change,
        (
            r#"{"id":2,"username":"ada","email":"","role":"viewer","stores":null,"is_active":true}"#.into(),
            r#"{"id":2,"username":"ada.l","email":"","role":"staff","stores":null,"is_active":true}"#.into()
        )
    );
    let renewed = "another long password";
    let form = with(
        with(fields("ada.l", "staff"), "password", renewed),
        "again",
        renewed,
    );
    root.post(&path, &form).await;
    assert_eq!(theirs.get("/admin/").await.status, 303);
    assert_eq!(theirs.enter("ada.l", renewed).await.status, 303);
    let mut inactive = fields("ada.l", "staff");
    inactive.retain(|(name, _)| *name != "active");
    root.post(&path, &inactive).await;
    assert_eq!(theirs.get("/admin/").await.status, 303);
    assert_eq!(
        count(&app, "select count(*) from session where account_id = 2").await,
        0
    );
    assert!(root.page("/admin/access/").await.contains(">Inactive<"));
    let log = audit_log(&app).await.concat();
    assert!(!log.contains("argon2") && !log.contains(renewed), "{log}");
}

#[tokio::test]
async fn deleted_account_loses_its_sessions_and_stays_in_the_audit_log() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    let ada = account(&app, "ada", Role::Viewer, None).await;
    let mut theirs = Browser::log_in(&app, "ada").await;
    let path = format!("/admin/access/accounts/{}/delete/", ada.id);
    let question = root.page(&path).await;
    assert!(question.contains("Delete account ada?") && question.contains("Also ends its sessions."));
    theirs.page("/admin/").await;
    let gone = root.post(&path, &[]).await;
    assert_eq!(gone.header("location"), "/admin/access/");
    assert_eq!(theirs.get("/admin/").await.status, 303);
    assert_eq!(root.get(&path).await.status, 404);
    assert_eq!(root.post(&path, &[]).await.status, 404);
    let kept =
        "select count(*) from audit_log where action = 'account.deleted' and before->>'username' = 'ada'";
    assert_eq!(count(&app, kept).await, 1);
}

#[tokio::test]
async fn superuser_must_confirm_losing_their_own_access() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    account(&app, "other", Role::Superuser, None).await;
    let path = "/admin/access/accounts/1/";
    let demoted = fields("superuser", "staff");
    let asked = root.post(path, &demoted).await;
    assert_eq!(asked.status, 400);
    assert!(
        asked
            .text
            .contains("This is your own account: you will lose access.")
    );
    root.page("/admin/access/").await;
    assert!(
        root.page("/admin/access/accounts/1/delete/")
            .await
            .contains("This is your own account")
    );
    let sure = root.post(path, &with(demoted, "sure", "on")).await;
    assert_eq!(sure.status, 303);
    assert_eq!(root.get("/admin/access/").await.status, 403);
}

#[tokio::test]
async fn last_active_superuser_cannot_be_demoted_or_deleted() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    account(&app, "sleeping", Role::Superuser, None).await;
    execute(
        &app,
        "update account set is_active = false where username = 'sleeping'",
    )
    .await;
    let path = "/admin/access/accounts/1/";
    let mut inactive = with(fields("superuser", "superuser"), "sure", "on");
    inactive.retain(|(name, _)| *name != "active");
    for (path, form) in [
        (path, with(fields("superuser", "staff"), "sure", "on")),
        (path, inactive),
        ("/admin/access/accounts/1/delete/", vec![]),
    ] {
        let refused = root.post(path, &form).await;
        assert_eq!(refused.status, 400);
        let said = "This is the last active superuser: make another one first.";
        assert!(refused.text.contains(said), "{}", refused.text);
    }
    root.page("/admin/access/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_superusers_demoting_each_other_leave_one() {
    let app = TestApp::start().await;
    account(&app, "one", Role::Superuser, None).await;
    account(&app, "two", Role::Superuser, None).await;
    for round in 0..5 {
        let mut one = Browser::log_in(&app, "one").await;
        let mut two = Browser::log_in(&app, "two").await;
        let (from_two, from_one) = (fields("two", "viewer"), fields("one", "viewer"));
        let (first, second) = tokio::join!(one.post("/admin/access/accounts/2/", &from_two), async {
            if round % 2 == 0 {
                two.post("/admin/access/accounts/1/", &from_one).await
            } else {
                two.post("/admin/access/accounts/1/delete/", &[("idempotency_key", "x")])
                    .await
            }
        });
        let superusers = "select count(*) from account where role = 'superuser' and is_active";
        assert_eq!(
            count(&app, superusers).await,
            1,
            "{} {}",
            first.status,
            second.status
        );
        execute(&app, "delete from account").await;
        execute(&app, "alter table account alter column id restart").await;
        account(&app, "one", Role::Superuser, None).await;
        account(&app, "two", Role::Superuser, None).await;
    }
}

#[tokio::test]
async fn accounts_are_paginated_and_sorted() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    execute(
        &app,
        "insert into account (username, password_hash, role) select 'name' || to_char(n, 'fm000'), '-', 'viewer' from generate_series(1, 60) n",
    )
    .await;
    let first = root.page("/admin/access/").await;
    assert!(first.contains(">name050<") && !first.contains(">name051<") && first.contains("61 in all"));
    let second = root.page("/admin/access/?page=2").await;
    assert!(second.contains(">name060<") && second.contains(">superuser<"));
    let down = root.page("/admin/access/?sort=-username").await;
    assert!(down.find(">superuser<") < down.find(">name060<") && !down.contains(">name001<"));
    for sort in [
        "role",
        "-role",
        "last_login",
        "-last_login",
        "created",
        "-created",
        "drop",
    ] {
        root.page(&format!("/admin/access/?sort={sort}")).await;
    }
    let seen = root.page("/admin/access/?sort=-last_login").await;
    assert!(seen.find(">superuser<") < seen.find(">name001<"));
}

#[tokio::test]
async fn own_password_cannot_be_changed_on_the_accounts_page() {
    let app = TestApp::start().await;
    let mut chief = browser(&app, Role::Superuser).await;
    let mut fields = fields("superuser", "superuser");
    fields.extend([
        ("password", "another long password"),
        ("again", "another long password"),
    ]);
    let refused = chief.post("/admin/access/accounts/1/", &fields).await;
    assert!(
        refused
            .text
            .contains("Change your own password on the page of your account.")
    );
    Browser::log_in(&app, "superuser").await;
}

#[tokio::test]
async fn accounts_are_found_and_show_their_audit_entries() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    for (name, role) in [("ada", "staff"), ("bob_b", "viewer"), ("bobob", "staff")] {
        let form = with(new(name, role), "email", "x@shop.example");
        assert_eq!(root.post(NEW, &form).await.status, 303);
    }
    execute(
        &app,
        "update account set is_active = false where username = 'ada'",
    )
    .await;
    let cases: [(&str, &[&str]); 6] = [
        ("?q=BOB", &["bob_b", "bobob"]),
        ("?q=b_b", &["bob_b"]),
        ("?q=SHOP.example&role=staff", &["ada", "bobob"]),
        ("?state=inactive", &["ada"]),
        ("?role=viewer&state=active", &["bob_b"]),
        ("?q=nobody", &[]),
    ];
    for (query, expected) in cases {
        let html = root.page(&format!("/admin/access/{query}")).await;
        let rows = html.split(r#"<td class="wide title"><a href="#).skip(1);
        let found: Vec<&str> = rows.map(|row| row.split(['>', '<']).nth(1).unwrap()).collect();
        assert_eq!(found, expected, "{query}");
        let said = if expected.is_empty() {
            "No accounts match these filters.".to_owned()
        } else {
            format!("{} in all", expected.len())
        };
        assert!(html.contains(&said), "{query}: {html}");
    }
    let page = root.page("/admin/access/accounts/2/").await;
    assert!(
        page.contains("account.created</a> by superuser") && page.contains("?subject=account%3A2"),
        "{page}"
    );
}
