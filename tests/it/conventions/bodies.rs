//! Accepted request bodies, and the errors for all others.

use reqwest::Method;
use serde_json::json;

use super::{DETAILS, LISTS, app, methods};
use crate::support::app::{Answer, TestApp, send};

/// Every resource with a request body, and its methods.
fn writes() -> impl Iterator<Item = (Method, &'static str)> {
    let creations = LISTS.iter().map(|path| (Method::POST, *path));
    let changes = DETAILS
        .iter()
        .flat_map(|path| methods("PUT PATCH").map(move |method| (method, *path)));
    creations.chain(changes)
}

async fn post_as(app: &TestApp, content_type: Option<&str>, body: &'static str) -> Answer {
    let mut request = app.request(Method::POST, "/api/categories/");
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    send(request.body(body)).await
}

#[tokio::test]
async fn json_content_type_is_accepted_with_parameters_and_any_case() {
    let app = TestApp::start().await;
    for (index, content_type) in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        " application/json ",
    ]
    .iter()
    .enumerate()
    {
        let body = format!(r#" {{"name": "{index}"}} "#);
        let request = app.request(Method::POST, "/api/categories/");
        let answer = send(request.header("content-type", *content_type).body(body)).await;
        assert_eq!(answer.status, 201, "{content_type}");
    }
}

#[tokio::test]
async fn other_content_type_or_encoding_is_rejected_with_415() {
    let app = app().await;
    for content_type in [
        "text/plain",
        "text/plain; charset=utf-8",
        "application/vnd.api+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "application/jsonx",
    ] {
        for (method, path) in writes() {
            let request = app.request(method, path).header("content-type", content_type);
            send(request.body(r#"{"name":"a"}"#)).await.is_text(
                415,
                &format!(r#"{{"detail":"Unsupported media type \"{content_type}\" in request."}}"#),
            );
        }
    }
    post_as(&app, None, "{}")
        .await
        .is_text(415, r#"{"detail":"Unsupported media type \"\" in request."}"#);
    for (coding, status) in [("gzip", 415), ("br, gzip", 415), ("identity", 201), ("", 201)] {
        let request = app
            .request(Method::POST, "/api/categories/")
            .header("content-encoding", coding);
        let answer = send(request.json(&json!({ "name": format!("Coded {coding}?") }))).await;
        assert_eq!(answer.status, status, "{coding}: {}", answer.text);
        if status == 415 {
            let refusal = format!("Unsupported content encoding \"{coding}\" in request.");
            assert_eq!(answer.body["detail"], refusal);
        }
    }
    let required = r#"{"name":["This field is required."]}"#;
    post_as(&app, Some("text/plain"), "").await.is_text(400, required);
    post_as(&app, None, "").await.is_text(400, required);
}

#[tokio::test]
async fn invalid_json_is_refused_with_its_position() {
    let app = app().await;
    for (method, path) in writes() {
        app.send_text(method, path, r#"{"name": "Lamps",}"#)
            .await
            .is_text(
                400,
                r#"{"detail":"JSON parse error - key must be a string at line 1 column 18"}"#,
            );
    }
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(9000), "]".repeat(9000));
    let unclosed = "[".repeat(100_000);
    let bodies: [&[u8]; 14] = [
        b"{",
        b"  ",
        b"{'name':'a'}",
        b"name=a",
        b"NaN",
        br#"{"name":NaN}"#,
        br#"{"name":Infinity}"#,
        br#"{"name":"b","\ud800":1}"#,
        br#"{"name":"a"} x"#,
        b"\xEF\xBB\xBF{}",
        b"{\"name\":\"\xFF\"}",
        b"{\"name\":\"a\nb\"}",
        deep.as_bytes(),
        unclosed.as_bytes(),
    ];
    for body in bodies {
        let answer = app.post_text("/api/categories/", body.to_owned()).await;
        assert_eq!(answer.status, 400);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("JSON parse error - ") && detail.contains(" at line 1 column "),
            "{detail}"
        );
        assert_eq!(answer.body.as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn json_may_nest_hundreds_of_levels() {
    let app = TestApp::start().await;
    let deep = format!("{}{}", "[".repeat(800), "]".repeat(800));
    app.post_text("/api/categories/", format!(r#"{{"name":{deep}}}"#))
        .await
        .is_text(400, r#"{"name":["Not a valid string."]}"#);
    let ignored = format!(r#"{{"name":"a","other":{deep}}}"#);
    app.post_text("/api/categories/", ignored).await.created();
    app.post_text("/api/orders/", format!(r#"{{"store_id":1,"items":{deep}}}"#))
        .await
        .is_text(
            400,
            r#"{"items":[{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}]}"#,
        );
}

#[tokio::test]
async fn json_that_is_no_object_is_rejected_naming_its_type() {
    let app = app().await;
    for (method, path) in writes() {
        for (body, message) in [
            ("null", "No data provided"),
            ("[]", "Invalid data. Expected a dictionary, but got list."),
            (r#""x""#, "Invalid data. Expected a dictionary, but got str."),
            ("5", "Invalid data. Expected a dictionary, but got int."),
            ("1.5", "Invalid data. Expected a dictionary, but got float."),
            ("false", "Invalid data. Expected a dictionary, but got bool."),
        ] {
            app.send_text(method.clone(), path, body)
                .await
                .is_text(400, &format!(r#"{{"non_field_errors":["{message}"]}}"#));
        }
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let app = TestApp::start().await;
    for body in [
        r#"{"name":"a","":1,"x":{"y":[null]}}"#,
        r#"{"n\u0061me":"c"}"#,
        r#"{"name":"d","big":1e999,"x":"\ud800"}"#,
    ] {
        let answer = app.post_text("/api/categories/", body).await;
        assert_eq!(answer.status, 201, "{body}: {}", answer.text);
    }
}

#[tokio::test]
async fn body_limit_is_one_mebibyte() {
    let app = app().await;
    let body = |length: usize| {
        let fields = json!({ "title": "Big", "price": "1", "category_id": 1, "description": "" }).to_string();
        let (before, after) = fields.split_once(r#""description":"""#).unwrap();
        let text = "x".repeat(length - fields.len());
        format!(r#"{before}"description":"{text}"{after}"#)
    };
    let largest = app.post_text("/api/products/", body(1024 * 1024)).await;
    assert_eq!(largest.status, 201);
    assert!(largest.body["description"].as_str().unwrap().len() > 1_000_000);
    for (method, path) in writes() {
        app.send_text(method, path, body(1024 * 1024 + 1))
            .await
            .is_text(413, r#"{"detail":"Request body exceeds 1 MiB."}"#);
    }
    app.send_text(Method::PUT, "/api/products/99/", body(1024 * 1024 + 1))
        .await
        .is_text(404, r#"{"detail":"No Product matches the given query."}"#);
}

#[tokio::test]
async fn unused_body_is_ignored() {
    let app = app().await;
    for (method, path, status) in [
        ("GET", "/api/categories/", 200),
        ("DELETE", "/api/inventory/1/", 204),
        ("OPTIONS", "/api/orders/", 200),
        ("POST", "/api/orders/1/", 405),
        ("POST", "/api/nowhere/", 404),
    ] {
        let answer = app.send_text(method.parse().unwrap(), path, "no json").await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
}
