//! `/api/categories/`

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;

const LIST: &str = "/api/categories/";
const REQUIRED: &str = r#"{"name":["This field is required."]}"#;
const TAKEN: &str = r#"{"name":["Category with this name already exists."]}"#;

#[tokio::test]
async fn category_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let created = app
        .post(
            LIST,
            &json!({ "name": "  Lamps \t", "id": 77, "product_count": 5, "other": 1 }),
        )
        .await;
    assert_eq!(created.status, 201, "unknown and read-only fields are ignored");
    assert_eq!(
        created.untimed(),
        r#"{"id":1,"name":"Lamps","product_count":0,"created_at":"…","updated_at":"…"}"#
    );
    assert_eq!(created.header("location"), "");
    assert_eq!(created.body["created_at"], created.body["updated_at"]);
    app.get("/api/categories/1/").await.is_text(200, &created.text);

    let put = app.put("/api/categories/1/", &json!({ "name": "Lights" })).await;
    assert_eq!(put.status, 200);
    assert_eq!(
        put.untimed(),
        r#"{"id":1,"name":"Lights","product_count":0,"created_at":"…","updated_at":"…"}"#
    );
    assert_eq!(put.body["created_at"], created.body["created_at"]);
    assert!(put.body["updated_at"].as_str() > created.body["updated_at"].as_str());

    let patched = app.patch("/api/categories/1/", &json!({})).await;
    assert_eq!(
        (patched.status.as_u16(), &patched.body["name"]),
        (200, &json!("Lights"))
    );
    assert!(
        patched.body["updated_at"].as_str() > put.body["updated_at"].as_str(),
        "an empty PATCH writes too"
    );

    app.delete("/api/categories/1/").await.is_text(204, "");
    app.delete("/api/categories/1/")
        .await
        .is_text(404, r#"{"detail":"No Category matches the given query."}"#);
}

#[tokio::test]
async fn list_is_sorted_by_bytes_of_the_name() {
    let app = TestApp::start().await;
    app.get(LIST)
        .await
        .is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
    for name in ["b", "Ä", "a", "B", "a b", "_", "10", "9"] {
        app.category(name).await;
    }
    let list = app.get(LIST).await;
    assert_eq!(
        json!(list.column("name")),
        json!(["10", "9", "B", "_", "a", "a b", "b", "Ä"])
    );
    assert!(
        list.untimed().starts_with(
            r#"{"count":8,"next":null,"previous":null,"results":[{"id":7,"name":"10","product_count":0,"created_at":"…","updated_at":"…"},"#
        ),
        "{}",
        list.text
    );
}

#[tokio::test]
async fn product_count_includes_inactive_products() {
    let app = TestApp::start().await;
    let (category, other) = (app.category("A").await, app.category("B").await);
    let product = app.product_in(category, "Lamp", "1").await;
    app.product_in(category, "Bulb", "1").await;
    app.product_in(other, "Rug", "1").await;
    app.patch(
        &format!("/api/products/{product}/"),
        &json!({ "is_active": false }),
    )
    .await;
    assert_eq!(app.get(LIST).await.column("product_count"), [2, 1]);
    let detail = app.patch(&format!("{LIST}{category}/"), &json!({})).await;
    assert_eq!(detail.body["product_count"], 2);
}

#[tokio::test]
async fn name_is_text_of_1_to_100_characters() {
    let app = TestApp::start().await;
    let wrong = |message: &str| format!(r#"{{"name":["{message}"]}}"#);
    let (blank, long) = (
        wrong("This field may not be blank."),
        wrong("Ensure this field has no more than 100 characters."),
    );
    let (null, no_text) = (wrong("This field may not be null."), wrong("Not a valid string."));
    let nul = wrong("Null characters are not allowed.");
    let long_name = format!(r#"{{"name":"{}"}}"#, "ä".repeat(101));
    let cases = [
        ("{}", REQUIRED),
        ("", REQUIRED),
        (r#"{"Name":"x"}"#, REQUIRED),
        (r#"{"name":null}"#, &null),
        (r#"{"name":""}"#, &blank),
        (r#"{"name":" \u00a0\n\u001f"}"#, &blank),
        (r#"{"name":true}"#, &no_text),
        (r#"{"name":["x"]}"#, &no_text),
        (r#"{"name":[]}"#, &no_text),
        (r#"{"name":{"a":1}}"#, &no_text),
        (&long_name, &long),
        (r#"{"name":"a\u0000b"}"#, &nul),
        (r#"{"name":"a\ud800b"}"#, &no_text),
        (r#"{"name":"good","name":""}"#, &blank),
    ];
    for (body, answer) in cases {
        app.post_text(LIST, body.to_owned()).await.is_text(400, answer);
    }
    assert_eq!(app.get(LIST).await.body["count"], 0);

    let longest = "ä".repeat(100);
    for (sent, kept) in [
        (json!(123), "123"),
        (json!(1.50), "1.5"),
        (json!(format!("  {longest}  ")), &longest),
        (json!("a\"\\\u{7f}\n😀</b>"), "a\"\\\u{7f}\n😀</b>"),
    ] {
        let created = app.post(LIST, &json!({ "name": sent })).await;
        assert_eq!(
            (created.status.as_u16(), &created.body["name"]),
            (201, &json!(kept))
        );
    }
    let last_wins = app.post_text(LIST, r#"{"name":"","name":"last"}"#).await;
    assert_eq!(last_wins.body["name"], "last");
    let emoji = app.post(LIST, &json!({ "name": "Zoë 😀" })).await;
    assert!(
        emoji.text.contains(r#""name":"Zoë 😀""#),
        "unescaped: {}",
        emoji.text
    );
}

#[tokio::test]
async fn category_name_is_unique() {
    let app = TestApp::start().await;
    let (one, two) = (app.category("One").await, app.category("Two").await);
    app.post(LIST, &json!({ "name": "One" }))
        .await
        .is_text(400, TAKEN);
    app.post(LIST, &json!({ "name": " One " }))
        .await
        .is_text(400, TAKEN);
    let path = format!("{LIST}{two}/");
    app.put(&path, &json!({ "name": "One" }))
        .await
        .is_text(400, TAKEN);
    app.patch(&path, &json!({ "name": "One" }))
        .await
        .is_text(400, TAKEN);
    assert_eq!(
        app.put(&path, &json!({ "name": "Two" })).await.status,
        200,
        "its own"
    );
    assert_eq!(
        app.post(LIST, &json!({ "name": "one" })).await.status,
        201,
        "case counts"
    );
    app.delete(&format!("{LIST}{one}/")).await;
    assert_eq!(
        app.post(LIST, &json!({ "name": "One" })).await.status,
        201,
        "free again"
    );
}

#[tokio::test]
async fn one_of_several_concurrent_creations_of_a_name_succeeds() {
    let app = TestApp::start().await;
    let body = json!({ "name": "Lamps" });
    let answers = futures::future::join_all((0..12).map(|_| app.post(LIST, &body))).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((created.len(), refused.len()), (1, 11));
    for answer in refused {
        answer.is_text(400, TAKEN);
    }
}

#[tokio::test]
async fn put_requires_the_name_and_patch_does_not() {
    let app = TestApp::start().await;
    let path = format!("{LIST}{}/", app.category("Lamps").await);
    app.put(&path, &json!({})).await.is_text(400, REQUIRED);
    let null = r#"{"name":["This field may not be null."]}"#;
    app.patch(&path, &json!({ "name": null }))
        .await
        .is_text(400, null);
    let bodiless = crate::support::app::send(app.request(Method::PATCH, &path)).await;
    assert_eq!(
        (bodiless.status.as_u16(), &bodiless.body["name"]),
        (200, &json!("Lamps"))
    );
}

#[tokio::test]
async fn deleting_a_category_deletes_its_products_and_their_stock() {
    let app = TestApp::start().await;
    let (category, store) = (app.category("Lamps").await, app.store("Main").await);
    let product = app.product_in(category, "Lamp", "1").await;
    let kept = app.product("Rug", "1").await;
    let stock = app.stock(store, product, 5).await;
    app.stock(store, kept, 5).await;
    app.delete(&format!("{LIST}{category}/")).await.is_text(204, "");
    assert_eq!(app.get(&format!("/api/products/{product}/")).await.status, 404);
    assert_eq!(app.get(&format!("/api/inventory/{stock}/")).await.status, 404);
    assert_eq!(app.get(&format!("/api/products/{kept}/")).await.status, 200);
    assert_eq!(app.get("/api/inventory/").await.body["count"], 1);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn deleting_a_category_with_ordered_products_is_rejected_with_409() {
    let app = TestApp::start().await;
    let (category, store) = (app.category("Lamps").await, app.store("Main").await);
    let product = app.product_in(category, "Lamp", "1").await;
    let stock = app.stock(store, product, 5).await;
    app.order(store, &[(product, 1)]).await.created();
    let path = format!("{LIST}{category}/");
    app.delete(&path).await.is_text(
        409,
        r#"{"detail":"Cannot delete this category: it has products that were ordered."}"#,
    );
    assert_eq!(app.get(&path).await.body["product_count"], 1);
    assert_eq!(app.quantity(stock).await, 4);
    app.delete(&format!("/api/inventory/{stock}/"))
        .await
        .is_text(204, "");
    assert_eq!(app.delete(&path).await.status, 409, "also when the stock is gone");
}

#[tokio::test]
async fn unknown_category_is_404_before_the_body_is_parsed() {
    let app = TestApp::start().await;
    app.category("Lamps").await;
    let digits = "9".repeat(500);
    for id in ["0", "2", "9223372036854775807", "9223372036854775808", &digits] {
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
            app.send_text(method, &format!("{LIST}{id}/"), "no json")
                .await
                .is_text(404, r#"{"detail":"No Category matches the given query."}"#);
        }
    }
    let padded = app.get("/api/categories/007/").await;
    assert_eq!(padded.status, 404);
    for id in ["001", "%31", "0%30%31"] {
        let answer = app.get(&format!("{LIST}{id}/")).await;
        assert_eq!(answer.body["id"], Value::from(1), "{id}");
    }
}
