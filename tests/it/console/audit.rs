//! `/admin/audit/`

use serde_json::{Value, json};

use super::{Desk, logged, text_of};
use crate::support::app::TestApp;

#[tokio::test]
async fn entries_are_filtered_and_listed_newest_first() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    assert!(
        desk.html("/admin/audit/")
            .await
            .contains("There are no entries yet.")
    );
    let ann = Some(("account:7", "ann"));
    let first = logged(
        &app,
        ann,
        "product.created",
        "product:1",
        (Value::Null, json!({})),
    )
    .await;
    for _ in 0..60 {
        logged(&app, None, "store.changed", "store:2", (json!({}), json!({}))).await;
    }
    let newest = desk.html("/admin/audit/").await;
    assert_eq!(newest.matches("<td class=\"title\">store.changed").count(), 50);
    let older = newest
        .split_once(r#"rel="next" href=""#)
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap();
    let oldest = desk.html(&format!("/admin/audit/{older}")).await;
    assert!(oldest.contains(&format!("/admin/audit/{first}/")) && !oldest.contains(r#"rel="next""#));

    for filter in [
        "actor=account:7",
        "action=product.created",
        "subject=product:1",
        "actor=account%3A7&from=2020-01-01",
        "to=2999-01-01&actor=account%3A7",
    ] {
        let html = desk.html(&format!("/admin/audit/?{filter}")).await;
        assert!(html.contains(&format!("/admin/audit/{first}/")), "{filter}");
        assert!(!html.contains("<td class=\"title\">store.changed"), "{filter}");
    }
    for filter in [
        "to=2020-01-01",
        "from=2999-01-01",
        "actor=ann",
        "subject=product:2",
    ] {
        let html = desk.html(&format!("/admin/audit/?{filter}")).await;
        assert!(html.contains("No entries match these filters."), "{filter}");
    }
}

#[tokio::test]
async fn entries_are_found_by_actor_name() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    let (id, name): (i64, String) = sqlx::query_as("select id, username from account")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let actor = format!("account:{id}");
    let entry = logged(
        &app,
        Some((&actor, &name)),
        "order.placed",
        "order:9",
        (Value::Null, json!({})),
    )
    .await;
    let html = desk.html(&format!("/admin/audit/?actor={name}")).await;
    assert!(html.contains(&format!("/admin/audit/{entry}/")) && html.contains("/admin/orders/9/"));
}

#[tokio::test]
async fn change_shows_values_before_and_after() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let before = json!({ "id": 1, "title": "<i>Pen</i>", "is_active": true });
    let after = json!({ "id": 1, "title": "Pencil", "is_active": true });
    let id = logged(
        &app,
        Some(("key:3", "till")),
        "product.changed",
        "product:1",
        (before, after),
    )
    .await;
    let html = desk.html(&format!("/admin/audit/{id}/")).await;
    assert!(!html.contains("<i>"));
    assert!(
        html.contains("<del>&#60;i&#62;Pen&#60;/i&#62;</del>") && html.contains("<ins>Pencil</ins>"),
        "{html}"
    );
    assert!(
        !html.contains("<del>yes</del>"),
        "what stayed the same is no change"
    );
    let text = text_of(&html);
    assert!(
        text.contains("till key:3") && text.contains("203.0.113.7"),
        "{text}"
    );
    assert_eq!(desk.get("/admin/audit/999/").await.status, 404);
}

#[tokio::test]
async fn account_entries_need_a_superuser_and_bound_accounts_get_403() {
    let app = TestApp::start().await;
    let store = app.store("North").await;
    let mut hidden = Vec::new();
    for action in ["account.changed", "apikey.created", "login.failed"] {
        hidden.push(logged(&app, None, action, "account:1", (Value::Null, json!({}))).await);
    }
    let viewer = Desk::of(&app, "viewer", None).await;
    let html = viewer.html("/admin/audit/").await;
    let superuser = Desk::of(&app, "superuser", None).await;
    let all = superuser.html("/admin/audit/").await;
    for (id, action) in hidden
        .iter()
        .zip(["account.changed", "apikey.created", "login.failed"])
    {
        assert!(!html.contains(action) && all.contains(action));
        assert_eq!(viewer.get(&format!("/admin/audit/{id}/")).await.status, 404);
        assert_eq!(superuser.get(&format!("/admin/audit/{id}/")).await.status, 200);
    }
    let bound = Desk::of(&app, "superuser", Some(&[store])).await;
    for path in ["/admin/audit/", &format!("/admin/audit/{}/", hidden[0])] {
        assert_eq!(bound.get(path).await.status, 403);
    }
    assert!(
        !bound
            .html("/admin/categories/")
            .await
            .contains(r#"href="/admin/audit/"#)
    );
}

#[tokio::test]
async fn entries_of_one_day_are_found() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    sqlx::raw_sql(
        "insert into audit_log (at, action, subject)
         select timestamptz '2026-03-01' + n * interval '1 hour', 'order.placed', 'order:' || n
         from generate_series(0, 71) n",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let html = desk.html("/admin/audit/?from=2026-03-02&to=2026-03-02").await;
    let rows = html.matches("<td class=\"title\">order.placed").count();
    assert_eq!(
        (rows, html.contains("order:24"), html.contains("order:47")),
        (24, true, true)
    );
    assert!(!html.contains("order:23") && !html.contains("order:48"));
}
