//! `/admin/access/keys/`: the keys of programs.

use afforo::auth::Role;
use reqwest::Method;

use super::{TestApp, audit_log, browser, count, execute, message};
use crate::support::app::send;

const NEW: &str = "/admin/access/keys/new/";
const READER: [(&str, &str); 4] = [
    ("name", "Till <7>"),
    ("scope", "catalog:read"),
    ("bound", "all"),
    ("term", "90"),
];

#[tokio::test]
async fn api_key_is_shown_once_and_accepted_until_revoked() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    assert!(
        root.page("/admin/access/keys/")
            .await
            .contains("There are no keys yet.")
    );
    let made = root.post(NEW, &READER).await;
    assert_eq!(
        (made.status.as_u16(), made.header("cache-control")),
        (200, "no-store"),
        "{}",
        made.text
    );
    let text = made
        .text
        .split_once(r#"value="afk_"#)
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let key = format!("afk_{text}");
    let ask = async || {
        let request = app.request(Method::GET, "/api/products/").bearer_auth(&key);
        send(request).await.status.as_u16()
    };
    assert_eq!(ask().await, 200);

    let list = root.page("/admin/access/keys/").await;
    assert!(
        list.contains("Till &#60;7&#62;") && list.contains("catalog:read") && list.contains("afk_1_…"),
        "{list}"
    );
    assert!(!list.contains(text));
    let days = "select count(*) from api_key where expires_at - created_at between interval '89 days 23 hours' and interval '90 days'";
    assert_eq!(count(&app, days).await, 1);

    assert!(root.page("/admin/access/keys/?q=TILL").await.contains("afk_1_…"));
    let none = root.page("/admin/access/keys/?q=other").await;
    assert!(none.contains("No keys match this name.") && !none.contains("afk_1_"));

    let question = root.page("/admin/access/keys/1/revoke/").await;
    assert!(question.contains("Revoke the key Till &#60;7&#62;?"));
    let revoked = root.post("/admin/access/keys/1/revoke/", &[]).await;
    assert_eq!(revoked.header("location"), "/admin/access/keys/");
    assert_eq!(message(&revoked), "Key Till <7> revoked.");
    assert!(
        root.page("/admin/access/keys/")
            .await
            .contains(r#"<span class="badge bad">Revoked</span>"#)
    );
    let again = root.post("/admin/access/keys/1/revoke/", &[]).await;
    assert_eq!(message(&again), "This key was already revoked.");
    assert!(
        root.page("/admin/access/keys/1/revoke/")
            .await
            .contains("This key was already revoked.")
    );
    assert_eq!(root.get("/admin/access/keys/2/revoke/").await.status, 404);
    let mut actions = audit_log(&app).await;
    actions.retain(|entry| entry.starts_with("account:1 key."));
    assert_eq!(actions.len(), 2);
    assert!(!actions.concat().contains(text));
}

#[tokio::test]
async fn api_key_can_be_bound_to_stores_and_never_expire() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let mut root = browser(&app, Role::Superuser).await;
    let (here, there) = (here.to_string(), format!("{there}, {there}"));
    let form = [
        ("name", "Till"),
        ("scope", "orders:read"),
        ("scope", "orders:write"),
        ("bound", "some"),
        ("store", &here),
        ("more_stores", &there),
        ("term", ""),
    ];
    assert_eq!(root.post(NEW, &form).await.status, 200);
    let kept = "select count(*) from api_key where expires_at is null and scopes = '{orders:read,orders:write}' and cardinality(stores) = 2";
    assert_eq!(count(&app, kept).await, 1);
    let list = root.page("/admin/access/keys/").await;
    assert!(list.contains("Here, There") && list.contains("Never"), "{list}");
}

#[tokio::test]
async fn invalid_api_key_form_is_rejected_with_400() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    let long = "x".repeat(101);
    for (name, value, said) in [
        ("name", "  ", "A key needs a name"),
        ("name", &long, "A name has at most 100 characters"),
        ("scope", "everything", "Choose at least one scope."),
        ("bound", "some", "Choose at least one store"),
        ("term", "forever", "Choose when the key expires."),
    ] {
        let form = READER.map(|field| if field.0 == name { (name, value) } else { field });
        let refused = root.post(NEW, &form).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(said), "{said}: {}", refused.text);
    }
    assert_eq!(count(&app, "select count(*) from api_key").await, 0);
}

#[tokio::test]
async fn api_keys_are_paginated_and_sorted() {
    let app = TestApp::start().await;
    let mut root = browser(&app, Role::Superuser).await;
    execute(
        &app,
        "insert into api_key (name, mac, scopes, expires_at, last_used_at)
         select 'key' || to_char(n, 'fm000'), '', '{stats}', now() + n * interval '1 day', now() - n * interval '1 hour'
         from generate_series(1, 60) n",
    )
    .await;
    execute(
        &app,
        "update api_key set expires_at = now() where name = 'key060'",
    )
    .await;
    let page = root.page("/admin/access/keys/").await;
    assert!(page.contains("key059") && !page.contains("key060") && page.contains("60 in all"));
    assert!(
        root.page("/admin/access/keys/?page=2").await.contains("Expired"),
        "those that are over come last"
    );
    let by_name = root.page("/admin/access/keys/?sort=-name").await;
    assert!(by_name.find("key060") < by_name.find("key059"));
    for sort in ["-expires", "used", "state", "-state"] {
        root.page(&format!("/admin/access/keys/?sort={sort}")).await;
    }
}
