//! Forms that are sent after their session has ended.

use afforo::auth::Role;

use super::{Browser, PASSWORD, TestApp, account, browser, count, execute, message, text_of};
use crate::support::app::Answer;

const NEW: &str = "/admin/stores/new/";
const STORE: [(&str, &str); 4] = [
    ("idempotency_key", "one"),
    ("name", "North & <b>South</b>"),
    ("location", "Main\r\nStreet"),
    ("is_active", "on"),
];

async fn end_sessions(app: &TestApp) {
    execute(app, "delete from session").await;
}

/// Sends a form whose session has ended.
async fn send_late(app: &TestApp, browser: &mut Browser<'_>, path: &str, fields: &[(&str, &str)]) -> Answer {
    end_sessions(app).await;
    browser.post(path, fields).await
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> String {
    let value = page
        .split(&format!(r#"name="{name}" value=""#))
        .nth(1)
        .unwrap_or_default();
    let value = value.split('"').next().unwrap();
    value
        .replace("&#38;", "&")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
}

/// Logs in by the form of a page.
async fn log_in(browser: &mut Browser<'_>, page: &str, username: &str, password: &str) -> Answer {
    let kept = ["next", "entry", "session"].map(|name| (name, hidden(page, name)));
    let mut fields = vec![("username", username), ("password", password)];
    fields.extend(kept.iter().map(|(name, value)| (*name, value.as_str())));
    browser.post("/admin/login/", &fields).await
}

#[tokio::test]
async fn entry_is_shown_after_the_login_and_submitted_once() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    let late = send_late(&app, &mut ada, NEW, &STORE).await;
    assert_eq!(late.status, 401);
    assert!(
        late.text
            .contains("Your session ended. Log in again; your entry is kept.")
    );
    // A wrong password keeps it, too.
    let wrong = log_in(&mut ada, &late.text, "staff", "wrong horse battery").await;
    assert_eq!(wrong.status, 400);
    let shown = log_in(&mut ada, &wrong.text, "staff", PASSWORD).await;
    assert_eq!(shown.status, 200);
    let text = text_of(&shown.text);
    for part in [
        "You are logged in as staff",
        "North &#38; &#60;b&#62;South",
        "Main Street",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(
        count(&app, "select count(*) from store").await,
        0,
        "it is shown first"
    );
    assert!(
        shown
            .text
            .contains(r#"<form method="post" action="/admin/stores/new/">"#)
    );
    for (name, value) in [
        ("idempotency_key", "one"),
        ("name", "North & <b>South</b>"),
        ("is_active", "on"),
    ] {
        assert_eq!(hidden(&shown.text, name), value);
    }
    let made = ada.post(NEW, &STORE).await;
    assert_eq!(message(&made), "North & <b>South</b> created.");
}

#[tokio::test]
async fn reloaded_login_with_an_entry_logs_nobody_in() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    let late = send_late(&app, &mut ada, NEW, &STORE).await;
    assert_eq!(log_in(&mut ada, &late.text, "staff", PASSWORD).await.status, 200);
    let sessions = || count(&app, "select count(*) from session");
    assert_eq!(sessions().await, 1);
    let again = log_in(&mut ada, &late.text, "staff", PASSWORD).await;
    assert!(again.text.contains("Submit your changes?") && again.headers.get("set-cookie").is_none());
    assert_eq!(sessions().await, 1);
    ada.post("/admin/logout/", &[]).await;
    let again = log_in(&mut ada, &late.text, "staff", PASSWORD).await;
    assert_eq!(
        (again.status.as_u16(), again.header("location")),
        (303, "/admin/login/?next=%2Fadmin%2Fstores%2Fnew%2F")
    );
    assert_eq!(sessions().await, 0);
}

#[tokio::test]
async fn confirmation_of_an_ended_session_is_asked_again() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    let selected = [("of", "products"), ("do", "delete"), ("id", "1")];
    for (path, fields, next) in [
        (
            "/admin/products/5/delete/",
            &[("idempotency_key", "k")][..],
            "%2Fadmin%2Fproducts%2F5%2Fdelete%2F",
        ),
        (
            "/admin/products/5/deactivate/",
            &[],
            "%2Fadmin%2Fproducts%2F5%2Fdeactivate%2F",
        ),
        (
            "/admin/selected/?list=%3Fq%3Da",
            &selected,
            "%2Fadmin%2Fproducts%2F%3Fq%3Da",
        ),
    ] {
        let late = send_late(&app, &mut ada, path, fields).await;
        let login = format!("/admin/login/?next={next}");
        assert_eq!(
            (late.status.as_u16(), late.header("location")),
            (303, login.as_str())
        );
    }
}

#[tokio::test]
async fn throttled_login_keeps_the_entry_or_leads_back_to_it() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    let late = send_late(&app, &mut ada, NEW, &STORE).await;
    let entry = hidden(&late.text, "entry");
    for _ in 0..30 {
        let refused = log_in(&mut ada, &late.text, "staff", "wrong horse battery").await;
        let keeps = hidden(&refused.text, "entry") == entry;
        assert!(
            keeps || refused.text.contains("Go back to return to your entry."),
            "{}",
            refused.text
        );
        if refused.status == 429 {
            return;
        }
    }
    panic!("no login was throttled");
}

#[tokio::test]
async fn another_operator_sees_the_entry_and_needs_the_permission() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    account(&app, "eve", Role::Viewer, None).await;
    let late = send_late(&app, &mut ada, NEW, &STORE).await;
    let shown = log_in(&mut ada, &late.text, "eve", PASSWORD).await;
    assert!(shown.text.contains("You are logged in as <strong>eve</strong>"));
    assert_eq!(ada.post(NEW, &STORE).await.status, 403);
    assert_eq!(count(&app, "select count(*) from store").await, 0);
}

#[tokio::test]
async fn passwords_are_not_kept() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    let fields = [
        ("username", "ada"),
        ("password", "a secret of ada"),
        ("again", "a secret of ada"),
        ("current", "a secret of root"),
    ];
    let late = send_late(&app, &mut root, "/admin/access/accounts/new/", &fields).await;
    let entry = hidden(&late.text, "entry");
    assert!(entry.ends_with("&username=ada"), "{entry}");
    assert!(!late.text.contains("secret"), "{}", late.text);
    assert_eq!(hidden(&late.text, "drops_password"), "on");
}

#[tokio::test]
async fn strangers_and_long_forms_get_the_login_without_an_entry() {
    let app = TestApp::start().await;
    let mut stranger = Browser::new(&app);
    let late = stranger.post(NEW, &STORE).await;
    assert_eq!(
        (late.status.as_u16(), late.header("location")),
        (303, "/admin/login/")
    );
    let mut ada = browser(&app, Role::Staff).await;
    let (long, longer) = ("x ".repeat(18 * 1024), "x".repeat(65 * 1024));
    let late = send_late(&app, &mut ada, NEW, &[("name", &long)]).await;
    assert_eq!(
        (late.status.as_u16(), hidden(&late.text, "entry").as_str()),
        (401, "")
    );
    assert_eq!(hidden(&late.text, "next"), NEW);
    assert!(
        late.text
            .contains("Your entry was too long to keep. Copy it before you log in again."),
        "{}",
        late.text
    );
    assert!(late.text.contains(&long));
    let late = ada.post(NEW, &[("name", &longer)]).await;
    assert_eq!(
        (late.status.as_u16(), hidden(&late.text, "next").as_str()),
        (401, NEW)
    );
    assert!(
        late.text.contains("Your entry was too long to keep."),
        "{}",
        late.text
    );
}

#[tokio::test]
async fn page_of_an_ended_session_is_reached_by_next() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    end_sessions(&app).await;
    let led = ada.get("/admin/stock/?state=low").await;
    let login = ada.page(led.header("location")).await;
    assert!(login.contains("Your session ended. Log in again."), "{login}");
    let done = log_in(&mut ada, &login, "staff", PASSWORD).await;
    assert_eq!(done.header("location"), "/admin/stock/?state=low");
}

#[tokio::test]
async fn entry_for_a_page_outside_the_console_is_not_offered() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Staff).await;
    let late = send_late(&app, &mut ada, NEW, &STORE).await;
    let session = hidden(&late.text, "session");
    let fields = [
        ("username", "staff"),
        ("password", PASSWORD),
        ("next", "https://evil.example/admin/"),
        ("entry", "name=a"),
        ("session", &session),
    ];
    let shown = ada.post("/admin/login/", &fields).await;
    assert!(
        !shown.text.contains("evil") && shown.text.contains(r#"action="/admin/""#),
        "{}",
        shown.text
    );
}
