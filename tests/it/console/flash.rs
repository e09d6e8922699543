//! The message about a finished request: shown once by the next page, and by no other.

use afforo::auth::Role;
use reqwest::Method;

use super::{Browser, Desk, browser, message};
use crate::support::app::TestApp;

const LIST: &str = "/admin/categories/";

async fn create(browser: &mut Browser<'_>, name: &str) {
    let made = browser.post("/admin/categories/new/", &[("name", name)]).await;
    assert_eq!(message(&made), format!("{name} created."));
}

#[tokio::test]
async fn message_is_shown_once_and_escaped() {
    let app = TestApp::start().await;
    let mut browser = browser(&app, Role::Staff).await;
    create(&mut browser, "Desks & <b>Lamps</b>; 50 % →").await;
    let shown = browser.page(LIST).await;
    let notice =
        r#"<p class="notice" role="status">Desks &#38; &#60;b&#62;Lamps&#60;/b&#62;; 50 % → created.</p>"#;
    assert!(shown.contains(notice), "{shown}");
    let reloaded = browser.page(LIST).await;
    assert!(!reloaded.contains(r#"class="notice"#), "{reloaded}");
}

#[tokio::test]
async fn message_waits_for_a_page() {
    let app = TestApp::start().await;
    let mut browser = browser(&app, Role::Staff).await;
    create(&mut browser, "Desks").await;
    // Neither a part that htmx asks for, nor a redirect, nor JSON shows it.
    let part = browser
        .request(Method::GET, "/admin/jobs/")
        .header("hx-request", "true");
    let part = browser.send(part).await;
    assert!(!part.text.contains("Desks created."), "{}", part.text);
    browser.get("/admin/login/").await;
    assert!(browser.page(LIST).await.contains("Desks created."));
}

#[tokio::test]
async fn message_needs_the_signature_of_the_server() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let made = desk.post("/admin/categories/new/", &[("name", "Desks")]).await;
    let signed = made.header("set-cookie").split(';').next().unwrap().to_owned();
    for (cookie, is_shown) in [
        (signed.clone(), true),
        (signed.replace("Desks", "Lamps"), false),
        ("afforo-flash=%2BAll%20stock%20deleted.".to_owned(), false),
    ] {
        let mut browser = Browser::log_in(&app, "staff 0").await;
        browser.flash = Some(cookie);
        let page = browser.page("/admin/stores/").await;
        assert_eq!(page.contains(r#"class="notice"#), is_shown, "{page}");
    }
    let typed = desk.html("/admin/stores/?done=saved").await;
    assert!(!typed.contains(r#"class="notice"#), "{typed}");
}

#[tokio::test]
async fn refused_action_is_shown_as_a_warning() {
    let app = TestApp::start().await;
    let mut browser = browser(&app, Role::Superuser).await;
    browser.post("/admin/jobs/retry-all/", &[]).await;
    let page = browser.page("/admin/jobs/").await;
    assert!(
        page.contains(r#"<p class="notice warn" role="status">There was nothing to retry."#),
        "{page}"
    );
}
