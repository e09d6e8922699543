//! `/admin/setup/`: the first account.

use afforo::auth::{Role, Secret, setup};
use futures::future::join_all;

use super::{Browser, PASSWORD, TestApp, account, audit_log, count, production};

/// The link's path, as `afforo dev` prints it.
async fn link(app: &TestApp) -> Option<String> {
    let secret = Secret::new(production().secret_key.unwrap());
    let token = setup::token(&app.pool, &secret).await.unwrap();
    token.map(|token| format!("/admin/setup/?token={token}"))
}

fn fields<'a>(link: &'a str, username: &'a str) -> [(&'a str, &'a str); 5] {
    let token = link.split_once('=').unwrap().1;
    [
        ("token", token),
        ("username", username),
        ("email", "ada@shop.example"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ]
}

#[tokio::test]
async fn first_account_is_created_once_and_is_logged_in() {
    let app = TestApp::start().await;
    let link = link(&app).await.unwrap();
    let mut ada = Browser::new(&app);
    assert!(ada.page(&link).await.contains("Set up Afforo"));
    let made = ada.post("/admin/setup/", &fields(&link, "ada")).await;
    assert_eq!(
        (made.status.as_u16(), made.header("location")),
        (303, "/admin/"),
        "{}",
        made.text
    );
    assert!(
        ada.page("/admin/").await.contains("/admin/access/"),
        "a superuser"
    );
    let over = Browser::new(&app).get(&link).await;
    assert_eq!(over.status, 410);
    assert!(over.text.contains("This link has expired"));
    assert_eq!(
        Browser::new(&app)
            .post("/admin/setup/", &fields(&link, "eve"))
            .await
            .status,
        410
    );
    assert_eq!(self::link(&app).await, None);
    assert_eq!(
        audit_log(&app).await,
        [
            r#"account:1 account.created account:1 {"id":1,"username":"ada","email":"ada@shop.example","role":"superuser","stores":null,"is_active":true}"#,
            "account:1 login.done account:1"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_concurrent_setups_succeeds() {
    let app = TestApp::start().await;
    let link = link(&app).await.unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let made = join_all(names.map(async |name| {
        let made = Browser::new(&app)
            .post("/admin/setup/", &fields(&link, name))
            .await;
        made.status.as_u16()
    }));
    let mut made = made.await;
    made.sort_unstable();
    assert_eq!(made, [303, 410, 410, 410, 410, 410]);
    assert_eq!(count(&app, "select count(*) from account").await, 1);
}

#[tokio::test]
async fn setup_without_a_valid_token_gets_410() {
    let app = TestApp::start().await;
    let good = link(&app).await.unwrap();
    let theirs = setup::token(&app.pool, &Secret::new("their secret".into()))
        .await
        .unwrap()
        .unwrap();
    for link in [
        "/admin/setup/",
        "/admin/setup/?token=",
        &format!("/admin/setup/?token={theirs}"),
    ] {
        assert_eq!(Browser::new(&app).get(link).await.status, 410, "{link}");
    }
    assert_eq!(
        Browser::new(&app)
            .post("/admin/setup/", &[("username", "eve")])
            .await
            .status,
        410
    );
    account(&app, "ada", Role::Viewer, None).await;
    assert_eq!(Browser::new(&app).get(&good).await.status, 410);
}

#[tokio::test]
async fn invalid_setup_form_shows_errors_at_fields() {
    let app = TestApp::start().await;
    let link = link(&app).await.unwrap();
    let mut form = fields(&link, "a b");
    (form[2].1, form[3].1, form[4].1) = ("nowhere", "short", "shorter");
    let refused = Browser::new(&app).post("/admin/setup/", &form).await;
    assert_eq!(refused.status, 400);
    for said in [
        "A username has letters, digits and @ . + - _ only.",
        "This is no email address.",
        "This password is too short: it needs at least 10 characters.",
        "The two passwords differ.",
        r#"value="a b""#,
        r#"value="nowhere""#,
    ] {
        assert!(refused.text.contains(said), "{said}: {}", refused.text);
    }
    assert!(
        !refused.text.contains("shorter\""),
        "what was typed as a password is not shown again"
    );
    assert_eq!(count(&app, "select count(*) from account").await, 0);
}
