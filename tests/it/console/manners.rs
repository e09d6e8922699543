//! What all pages of the console have in common.

use afforo::auth::Role;
use reqwest::Method;

use super::{Browser, Desk, browser};
use crate::support::app::TestApp;

#[tokio::test]
async fn cross_site_form_is_rejected_with_403() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Superuser).await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let request = ada.request(Method::POST, "/admin/logout/").header(name, value);
        assert_eq!(ada.send(request).await.status, 403, "{value}");
    }
    ada.page("/admin/").await;
}

#[tokio::test]
async fn expired_session_is_reported_to_scripts_and_streams() {
    let app = TestApp::start().await;
    let mut browser = Browser::new(&app);
    let request = browser
        .request(Method::GET, "/admin/orders/?page=1")
        .header("hx-request", "true")
        .header("hx-current-url", format!("http://{}/admin/orders/", app.address));
    let part = browser.send(request).await;
    assert_eq!(
        (part.status.as_u16(), part.header("hx-redirect")),
        (200, "/admin/login/?next=%2Fadmin%2Forders%2F")
    );
    let events = app
        .request(Method::GET, "/admin/events/")
        .header("accept", "text/event-stream");
    assert_eq!(browser.send(events).await.status, 204);
}

#[tokio::test]
async fn unknown_page_is_404_for_accounts_and_redirects_others() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Viewer).await;
    for path in [
        "/admin/nothing/",
        "/admin/nothing/at/all/",
        "/admin/assets/nothing/",
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.header("content-type").starts_with("text/html") && answer.text.contains("Not found"));
        assert!(
            answer.text.contains("Log out") && answer.text.contains("/admin/products/"),
            "the menu stays"
        );
        assert_eq!(Browser::new(&app).get(path).await.status, 303, "{path}");
    }
    let request = ada.request(Method::HEAD, "/admin/");
    let head = ada.send(request).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(ada.get("/admin/logout/").await.status, 405);
    for asset in ["/admin/assets/0/console.css", "/admin/assets/0/console.js"] {
        assert_eq!(
            Browser::new(&app).get(asset).await.status,
            200,
            "the login needs it"
        );
    }
}

#[tokio::test]
async fn forbidden_page_keeps_the_session() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Viewer).await;
    for path in ["/admin/products/new/", "/admin/access/"] {
        let refused = ada.get(path).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(
            refused.text.contains("Not allowed") && refused.text.contains("Log out"),
            "{}",
            refused.text
        );
    }
    let elsewhere = ada.request(Method::POST, "/admin/logout/");
    let elsewhere = ada.send(elsewhere.header("sec-fetch-site", "cross-site")).await;
    assert!(
        !elsewhere.text.contains("Log out"),
        "the cookie was not looked at"
    );
}

#[tokio::test]
async fn reloaded_form_action_redirects_to_its_page() {
    let app = TestApp::start().await;
    let mut ada = browser(&app, Role::Superuser).await;
    for (path, up) in [
        ("/admin/stock/1/movements/", "/admin/stock/1/"),
        ("/admin/stock/1/threshold/", "/admin/stock/1/"),
        ("/admin/products/7/activate/?q=a", "/admin/products/7/"),
        ("/admin/jobs/retry/", "/admin/jobs/"),
        ("/admin/account/password/", "/admin/account/"),
    ] {
        let answer = ada.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, up),
            "{path}"
        );
    }
    let request = ada.request(Method::DELETE, "/admin/stock/1/");
    let refused = ada.send(request.header("sec-fetch-site", "same-origin")).await;
    assert_eq!(refused.status, 405);
}

#[tokio::test]
async fn invalid_id_in_the_path_gets_404() {
    let app = TestApp::start().await;
    let mut browser = browser(&app, Role::Superuser).await;
    for path in [
        "products/x",
        "orders/x",
        "stock/1.5",
        "access/accounts/99999999999999999999",
        "stores/%FF",
        "audit/-",
    ] {
        let answer = browser.get(&format!("/admin/{path}/")).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text.contains("Not found"), "{path}");
    }
}

#[tokio::test]
async fn unusual_queries_get_200() {
    let app = TestApp::start().await;
    let mut browser = browser(&app, Role::Superuser).await;
    for path in [
        "orders/?q=%00",
        "stock/?q=%00",
        "products/?q=%00",
        "categories/?q=%00",
        "stores/?q=%00",
        "audit/?actor=%00&subject=%00&action=%00",
        "audit/?from=-200000-01-01",
        "audit/?to=-9999-01-01",
        "orders/?start=9223372036854775807&page=3",
        "orders/?start=-9223372036854775808&sort=placed&page=3",
        "orders/?from=99999-01-01",
    ] {
        let answer = browser.get(&format!("/admin/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn account_bound_to_stores_sees_no_jobs_of_others() {
    let app = TestApp::start().await;
    let store = app.store("Ours").await;
    sqlx::query("insert into outbox (order_ids, handouts, dead_at) values ('{1}', 11, now())")
        .execute(&app.pool)
        .await
        .unwrap();
    let bound = Desk::of(&app, "staff", Some(&[store])).await;
    let all = Desk::of(&app, "viewer", None).await;
    for (path, text) in [
        ("/admin/", "Failed jobs"),
        ("/admin/", "1 order confirmation failed."),
        ("/admin/jobs/", "Queues"),
    ] {
        assert!(all.html(path).await.contains(text), "{path} {text}");
        assert!(
            !bound.html(path).await.contains(&format!("{text}<")),
            "{path} {text}"
        );
    }
}

#[tokio::test]
async fn form_limits_are_lower_before_login() {
    let app = TestApp::start().await;
    let mut stranger = Browser::new(&app);
    let mut ada = browser(&app, Role::Superuser).await;
    let text = "x".repeat(1_100_000);
    let long = [65_000, 66_000, 1_000_000, 1_100_000].map(|length| vec![("username", &text[..length])]);
    let many = [250, 251, 10_000, 10_001].map(|count| vec![("a", ""); count]);
    for forms in [long, many] {
        let limits = [(200, 200), (413, 200), (413, 200), (413, 413)];
        for (form, (before, after)) in forms.iter().zip(limits) {
            // A login without an account is shown again, and so is a category without a name.
            let request = stranger.form("/admin/login/", form);
            let status = stranger.send(request).await.status;
            assert_eq!(status == 413, before == 413, "{status}");
            let request = ada.form("/admin/categories/new/", form);
            let status = ada.send(request).await.status;
            assert_eq!(status == 413, after == 413, "{status}");
        }
    }
    let gzip = ada.form("/admin/categories/new/", &[("name", "x")]);
    assert_eq!(
        ada.send(gzip.header("content-encoding", "gzip")).await.status,
        415
    );
}
