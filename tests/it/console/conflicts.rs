//! Forms that are saved after somebody else has changed the same record.

use serde_json::{Value, json};

use super::{Desk, led, message, text_of};
use crate::support::app::{Answer, TestApp};

/// The inputs of a page by name and value, with what a browser would send of them. Textareas and chosen options included.
fn inputs(html: &str) -> Vec<(String, String)> {
    let mut inputs = Vec::new();
    let attribute = |tag: &str, name: &str| {
        let value = tag.split_once(&format!(r#" {name}=""#))?.1;
        Some(unescape(value.split_once('"')?.0))
    };
    for tag in html.split("<input").skip(1) {
        let tag = format!(" {}", tag.split_once('>').unwrap().0);
        let kind = attribute(&tag, "type").unwrap_or_default();
        let is_sent = !["checkbox", "radio"].contains(&kind.as_str()) || tag.contains(" checked");
        if let (true, Some(name)) = (is_sent, attribute(&tag, "name")) {
            inputs.push((name, attribute(&tag, "value").unwrap_or_default()));
        }
    }
    for tag in html.split("<textarea").skip(1) {
        let text = tag
            .split_once(">\n")
            .unwrap()
            .1
            .split_once("</textarea>")
            .unwrap()
            .0;
        inputs.push((attribute(tag, "name").unwrap(), unescape(text)));
    }
    for tag in html.split("<select").skip(1) {
        let options = tag.split_once("</select>").unwrap().0;
        let chosen = options
            .split("<option")
            .skip(1)
            .find(|option| option.contains(" selected"));
        if let Some(chosen) = chosen {
            inputs.push((
                attribute(tag, "name").unwrap(),
                attribute(chosen, "value").unwrap(),
            ));
        }
    }
    inputs
}

fn unescape(text: &str) -> String {
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#38;", "&")
}

/// A form that was opened, to be sent later.
struct Open<'a> {
    desk: &'a Desk<'a>,
    action: String,
    fields: Vec<(String, String)>,
}

impl<'a> Open<'a> {
    async fn form(desk: &'a Desk<'a>, page: &str, action: &str) -> Self {
        let html = desk.html(page).await;
        let form = html.split("<form").find(|form| {
            let is_own = page == action && form.contains(r#"name="was."#);
            is_own || form.contains(&format!(r#"action="{action}"#))
        });
        let form = form.unwrap().split("</form>").next().unwrap();
        Self {
            desk,
            action: action.to_owned(),
            fields: inputs(form),
        }
    }

    /// Types a value; a blank one clears a checkbox.
    fn set(&mut self, name: &str, value: &str) {
        assert!(
            self.fields.iter().any(|(known, _)| known == name),
            "{name}: {:?}",
            self.fields
        );
        self.fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    async fn send(&self) -> Answer {
        let fields: Vec<(&str, &str)> = self
            .fields
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        self.desk.post(&self.action, &fields).await
    }

    /// Sends a form that is in conflict, and goes on with the page that asks whose value is to stay.
    async fn conflicting(&mut self) -> String {
        let answer = self.send().await;
        assert_eq!(
            answer.status,
            409,
            "{} {}",
            answer.header("location"),
            answer.text
        );
        let form = answer.text.split_once("<main").unwrap().1;
        self.fields = inputs(form);
        text_of(&answer.text)
    }
}

/// What stands in the audit log of a subject, without its creation: who changed which fields.
async fn changes(app: &TestApp, subject: &str) -> Vec<(String, Vec<String>)> {
    let entries: Vec<(String, Value, Value)> = sqlx::query_as(
        "select actor_name, before::jsonb, after::jsonb from audit_log
         where subject = $1 and action like '%.changed' order by id",
    )
    .bind(subject)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let changed = |before: &Value, after: &Value| {
        let fields = after.as_object().unwrap().iter();
        let changed = fields.filter(|(name, value)| *name != "updated_at" && before[*name] != **value);
        changed.map(|(name, _)| name.clone()).collect()
    };
    let entries = entries.iter();
    entries
        .map(|(who, before, after)| (who.clone(), changed(before, after)))
        .collect()
}

#[tokio::test]
async fn a_stale_product_form_writes_only_the_fields_that_were_changed() {
    let app = TestApp::start().await;
    let product = app.product("Lamp", "49.90").await;
    let (ada, bob) = (
        Desk::of(&app, "staff", None).await,
        Desk::of(&app, "staff", None).await,
    );
    let path = format!("/admin/products/{product}/edit/");
    let mut open = Open::form(&bob, &path, &path).await;
    let mut first = Open::form(&ada, &path, &path).await;
    first.set("price", "59.90");
    first.set("is_active", "");
    led(&first.send().await);
    open.set("description", "Bright.");
    led(&open.send().await);
    let saved = app.get(&format!("/api/products/{product}/")).await.body;
    assert_eq!(
        (&saved["price"], &saved["is_active"], &saved["description"]),
        (&json!("59.90"), &json!(false), &json!("Bright."))
    );
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        changes(&app, &format!("product:{product}")).await,
        [
            ("staff 0".to_owned(), fields(&["is_active", "price"])),
            ("staff 1".to_owned(), fields(&["description"])),
        ]
    );
    let unchanged = Open::form(&bob, &path, &path).await;
    led(&unchanged.send().await);
    let after = app.get(&format!("/api/products/{product}/")).await.body;
    assert_eq!(after["updated_at"], saved["updated_at"], "nothing was written");
}

#[tokio::test]
async fn a_product_conflict_names_field_author_and_values_and_either_can_stay() {
    let app = TestApp::start().await;
    let tools = app.category("Tools").await;
    let toys = app.category("Toys").await.to_string();
    let gifts = app.category("Gifts").await.to_string();
    let product = app.product_in(tools, "Lamp", "49.90").await;
    let (ada, bob) = (
        Desk::of(&app, "staff", None).await,
        Desk::of(&app, "staff", None).await,
    );
    let path = format!("/admin/products/{product}/edit/");
    let mut open = Open::form(&bob, &path, &path).await;
    let mut first = Open::form(&ada, &path, &path).await;
    for (name, theirs, mine) in [("price", "59.90", "39.90"), ("category_id", &*toys, &*gifts)] {
        first.set(name, theirs);
        open.set(name, mine);
    }
    open.set("title", "Desk lamp");
    led(&first.send().await);
    let page = open.conflicting().await;
    for text in [
        "Price Changed by staff 0 on",
        "Keep theirs: 59.90",
        "Use mine: 39.90",
        "Keep theirs: Toys",
        "Use mine: Gifts",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("Title"), "it is not in conflict: {page}");
    let price = || async { app.get(&format!("/api/products/{product}/")).await.body };
    assert_eq!(price().await["title"], "Lamp", "nothing was written");

    open.set("choice.price", "mine");
    led(&open.send().await);
    let saved = price().await;
    assert_eq!(
        (&saved["price"], &saved["category"]["name"], &saved["title"]),
        (&json!("39.90"), &json!("Toys"), &json!("Desk lamp"))
    );
}

#[tokio::test]
async fn a_value_that_changes_during_the_decision_is_another_conflict() {
    let app = TestApp::start().await;
    let product = app.product("Lamp", "10.00").await;
    let desk = Desk::of(&app, "staff", None).await;
    let path = format!("/admin/products/{product}/edit/");
    let mut open = Open::form(&desk, &path, &path).await;
    open.set("price", "11.00");
    for (now, shown) in [("12.00", "Keep theirs: 12.00"), ("13.00", "Keep theirs: 13.00")] {
        app.patch(&format!("/api/products/{product}/"), &json!({ "price": now }))
            .await;
        let page = open.conflicting().await;
        assert!(page.contains(shown), "{page}");
        open.set("choice.price", "mine");
    }
    led(&open.send().await);
    assert_eq!(
        app.get(&format!("/api/products/{product}/")).await.body["price"],
        "11.00"
    );
}

#[tokio::test]
async fn category_and_store_forms_notice_conflicts() {
    let app = TestApp::start().await;
    let category = app.category("Tools").await;
    let store = app.store("Here").await;
    let desk = Desk::of(&app, "staff", None).await;
    for (path, api) in [
        (
            format!("/admin/categories/{category}/edit/"),
            format!("/api/categories/{category}/"),
        ),
        (
            format!("/admin/stores/{store}/edit/"),
            format!("/api/stores/{store}/"),
        ),
    ] {
        let mut open = Open::form(&desk, &path, &path).await;
        open.set("name", "Mine");
        app.patch(&api, &json!({ "name": "Theirs" })).await;
        let page = open.conflicting().await;
        assert!(
            page.contains("Changed by anyone")
                && page.contains("Keep theirs: Theirs")
                && page.contains("Use mine: Mine"),
            "{page}"
        );
        led(&open.send().await);
        assert_eq!(
            app.get(&api).await.body["name"],
            "Theirs",
            "{path}: theirs is the default"
        );
    }
    let path = format!("/admin/stores/{store}/edit/");
    let mut open = Open::form(&desk, &path, &path).await;
    open.set("location", "Mole End");
    app.patch(&format!("/api/stores/{store}/"), &json!({ "is_active": false }))
        .await;
    led(&open.send().await);
    assert_eq!(
        app.get(&format!("/api/stores/{store}/")).await.body["is_active"],
        false
    );
}

#[tokio::test]
async fn a_threshold_conflicts_with_another_threshold_and_not_with_sales() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let lamp = app.product("Lamp", "2.50").await;
    let id = app.stock(store, lamp, 5).await;
    let desk = Desk::of(&app, "staff", None).await;
    let (page, action) = (
        format!("/admin/stock/{id}/"),
        format!("/admin/stock/{id}/threshold/"),
    );
    let mut open = Open::form(&desk, &page, &action).await;
    open.set("low_stock_threshold", "3");
    app.order(store, &[(lamp, 2)]).await.created();
    led(&open.send().await);
    let row = || async { app.get(&format!("/api/inventory/{id}/")).await.body };
    assert_eq!(
        (&row().await["quantity"], &row().await["low_stock_threshold"]),
        (&json!(3), &json!(3))
    );

    let mut open = Open::form(&desk, &page, &action).await;
    open.set("low_stock_threshold", "4");
    app.patch(
        &format!("/api/inventory/{id}/"),
        &json!({ "low_stock_threshold": 7 }),
    )
    .await;
    let shown = open.conflicting().await;
    assert!(
        shown.contains("Keep theirs: 7") && shown.contains("Use mine: 4"),
        "{shown}"
    );
    open.set("choice.low_stock_threshold", "mine");
    led(&open.send().await);
    assert_eq!(row().await["low_stock_threshold"], 4);
}

#[tokio::test]
async fn an_account_form_keeps_what_others_changed_and_notices_conflicts() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let (ada, bob) = (
        Desk::of(&app, "superuser", None).await,
        Desk::of(&app, "superuser", None).await,
    );
    super::account(&app, "cleo", afforo::auth::Role::Staff, Some(vec![here])).await;
    let id: i64 = super::count(&app, "select id from account where username = 'cleo'").await;
    let path = format!("/admin/access/accounts/{id}/");
    let mut open = Open::form(&bob, &path, &path).await;
    let mut third = Open::form(&bob, &path, &path).await;
    let mut first = Open::form(&ada, &path, &path).await;
    first.set("store", &there.to_string());
    led(&first.send().await);
    open.set("email", "cleo@shop.example");
    led(&open.send().await);
    let state = || async {
        sqlx::query_as::<_, (String, Option<Vec<i64>>)>("select email, stores from account where id = $1")
            .bind(id)
            .fetch_one(&app.pool)
            .await
            .unwrap()
    };
    assert_eq!(state().await, ("cleo@shop.example".to_owned(), Some(vec![there])));

    third.set("bound", "all");
    third.set("email", "");
    let page = third.conflicting().await;
    for text in [
        "Stores Changed by superuser 0 on",
        "Keep theirs: There",
        "Use mine: All stores",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    led(&third.send().await);
    assert_eq!(state().await.1, Some(vec![there]));
}

#[tokio::test]
async fn a_key_that_is_revoked_twice_is_revoked_once() {
    let app = TestApp::start().await;
    app.key(&[], afforo::auth::Stores::All).await;
    let (ada, bob) = (
        Desk::of(&app, "superuser", None).await,
        Desk::of(&app, "superuser", None).await,
    );
    let path = "/admin/access/keys/1/revoke/";
    assert!(message(&ada.post(path, &[]).await).ends_with(" revoked."));
    assert_eq!(
        message(&bob.post(path, &[]).await),
        "This key was already revoked."
    );
    let entries = super::audit_log(&app).await;
    let revoked = entries.iter().filter(|entry| entry.contains("key.revoked"));
    assert_eq!(revoked.count(), 1, "{entries:#?}");
}
