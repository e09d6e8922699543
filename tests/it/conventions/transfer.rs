//! Conditional requests and compression for clients that ask for them.

use std::io::Read;

use afforo::config::HttpSettings;
use flate2::read::GzDecoder;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::json;

use super::{DETAILS, LISTS, READ_ONLY, app, ask, methods};
use crate::support::app::{Answer, TestApp, production, send};

const VARY: &str = "Accept, origin, Cookie";
const VARY_TOO: &str = "Accept, origin, Cookie, Accept-Encoding";
/// A path whose response is well above the smallest compressed size.
const LONG: &str = "/api/products/1/";

async fn with(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.request(method, path);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    send(request).await
}

/// The headers of a response without the ones that always differ.
fn lasting(answer: &Answer) -> HeaderMap {
    let mut headers = answer.headers.clone();
    for name in ["date", "x-request-id"] {
        headers.remove(name).expect(name);
    }
    headers
}

/// A raw response to a client that accepts gzip.
struct Packed {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Packed {
    async fn get(app: &TestApp, path: &str) -> Self {
        let request = app.request(Method::GET, path).header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            bytes: response.bytes().await.unwrap().to_vec(),
        }
    }

    /// A header's only line, or blank if it is absent.
    fn header(&self, name: &str) -> &str {
        let lines: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(lines.len() < 2, "{name}: {lines:?}");
        lines
            .first()
            .map(|line| line.to_str().unwrap())
            .unwrap_or_default()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        GzDecoder::new(&*self.bytes).read_to_string(&mut text).unwrap();
        text
    }
}

/// A server with one record of every kind; the product has a long description.
async fn app_with_long_text() -> TestApp {
    let app = app().await;
    describe(&app, &"A lamp, bright. ".repeat(200)).await;
    app
}

async fn describe(app: &TestApp, description: &str) -> Answer {
    let answer = app.patch(LONG, &json!({ "description": description })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

#[tokio::test]
async fn known_tag_is_answered_with_304() {
    let app = app().await;
    for path in LISTS.iter().chain(&READ_ONLY).chain(&DETAILS) {
        let origin = ("origin", "http://localhost:3000");
        let whole = with(&app, Method::GET, path, &[origin]).await;
        let tag = whole.header("etag");
        let form = tag.replace(|c: char| c.is_ascii_hexdigit(), "0");
        assert_eq!(form, format!("W/\"{}\"", "0".repeat(32)), "{path}");
        let mut expected = lasting(&whole);
        for name in ["content-type", "content-length"] {
            expected.remove(name).expect(name);
        }
        for method in methods("GET HEAD") {
            let again = with(&app, method.clone(), path, &[origin, ("if-none-match", tag)]).await;
            again.is_text(304, "");
            assert_eq!(lasting(&again), expected, "{method} {path}");
        }
        let head = with(&app, Method::HEAD, path, &[origin]).await;
        assert_eq!(lasting(&head), lasting(&whole), "{path}");
    }
}

#[tokio::test]
async fn changed_answer_has_a_new_tag() {
    let app = app().await;
    let paths = ["/api/categories/1/", "/api/categories/"];
    let mut tags = Vec::new();
    for path in paths {
        tags.push(app.get(path).await.header("etag").to_owned());
    }
    let renamed = app.patch("/api/categories/1/", &json!({ "name": "Other" })).await;
    assert_eq!(renamed.status, 200);
    for (path, tag) in paths.iter().zip(&tags) {
        let answer = with(&app, Method::GET, path, &[("if-none-match", tag)]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text.contains("Other"), "{}", answer.text);
        assert_ne!(answer.header("etag"), tag, "{path}");
    }
}

#[tokio::test]
async fn etag_is_the_same_on_every_server() {
    for _ in 0..2 {
        let app = TestApp::start().await;
        let answer = app.get("/api/categories/").await;
        answer.is_text(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
        assert_eq!(answer.header("etag"), r#"W/"8e73070a49a8c6ea8a0e34f691cb34c5""#);
    }
}

#[tokio::test]
async fn if_none_match_accepts_lists_and_weak_or_strong_etags() {
    let app = app().await;
    let path = "/api/categories/1/";
    let weak = app.get(path).await.header("etag").to_owned();
    let strong = weak.trim_start_matches("W/");
    let asked = async |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
        with(&app, Method::GET, path, &lines).await.status.as_u16()
    };
    for known in [
        weak.as_str(),
        strong,
        "*",
        &format!(r#""a", {weak}"#),
        &format!(r#"W/"a,b" ,{strong},"c""#),
        &format!("  {weak}  "),
    ] {
        assert_eq!(asked(&[known]).await, 304, "{known}");
    }
    assert_eq!(asked(&[r#""a""#, strong]).await, 304);
    for known in [
        "",
        ",",
        r#""a", W/"b""#,
        strong.trim_matches('"'),
        &strong.to_ascii_uppercase(),
        &format!("w/{strong}"),
        &strong[..strong.len() - 1],
        "W/*",
        r#""*""#,
    ] {
        assert_eq!(asked(&[known]).await, 200, "{known}");
    }
}

#[tokio::test]
async fn only_successful_reads_and_changed_records_have_an_etag() {
    let app = app().await;
    let conditions = [("if-none-match", "*"), ("accept-encoding", "gzip")];
    for (method, path, body, status) in [
        ("GET", "/api/categories/99/", "", 404),
        ("HEAD", "/api/categories/99/", "", 404),
        ("GET", "/api/categories/?page=9", "", 404),
        ("GET", "/api/orders/?store_id=x", "", 400),
        ("GET", "/api/nowhere/", "", 404),
        ("GET", "/health/", "", 200),
        ("OPTIONS", "/api/categories/", "", 200),
        ("PURGE", "/api/categories/", "", 405),
        ("POST", "/api/categories/", r#"{"name":"New"}"#, 201),
        ("PUT", "/api/categories/1/", r#"{"name":"Newer"}"#, 200),
        ("PATCH", "/api/categories/1/", "{}", 200),
        (
            "POST",
            "/api/orders/",
            r#"{"store_id":1,"items":[{"product_id":1,"quantity":1}]}"#,
            201,
        ),
        (
            "POST",
            "/api/orders/",
            r#"{"store_id":1,"items":[{"product_id":9,"quantity":1}]}"#,
            200,
        ),
        ("DELETE", "/api/categories/2/", "", 204),
    ] {
        let mut request = app.request(method.parse().unwrap(), path).body(body);
        for (name, value) in conditions.iter().chain(&[("content-type", "application/json")]) {
            request = request.header(*name, *value);
        }
        let answer = send(request).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        let has_tag = ["PUT", "PATCH"].contains(&method);
        assert_eq!(answer.headers.contains_key("etag"), has_tag, "{method} {path}");
        assert_eq!(answer.header("content-encoding"), "", "{method} {path}");
    }
    let conditions = [conditions[0], conditions[1], ("accept", "image/png")];
    let refused = with(&app, Method::GET, LONG, &conditions).await;
    refused.is_text(
        406,
        r#"{"detail":"Could not satisfy the request Accept header."}"#,
    );
    assert_eq!((refused.header("etag"), refused.header("vary")), ("", VARY));
}

#[tokio::test]
async fn compressed_response_has_the_same_content_and_adds_vary() {
    let app = app_with_long_text().await;
    for path in ["/api/products/", "/api/products/search/", LONG] {
        let plain = app.get(path).await;
        let packed = Packed::get(&app, path).await;
        assert_eq!((packed.status, packed.text()), (plain.status, plain.text.clone()));
        assert!(packed.bytes.len() < plain.text.len() / 2, "{path}");
        let mut expected = lasting(&plain);
        expected.insert("content-encoding", "gzip".parse().unwrap());
        expected.insert("transfer-encoding", "chunked".parse().unwrap());
        expected.remove("content-length");
        expected.insert("vary", VARY_TOO.parse().unwrap());
        for (name, value) in &expected {
            assert_eq!(packed.header(name.as_str()), value.to_str().unwrap(), "{path}");
        }
        assert_eq!(packed.headers.len(), expected.len() + 2, "{:?}", packed.headers);

        let gzip = ("accept-encoding", "gzip");
        // A response without a body is not compressed.
        let head = with(&app, Method::HEAD, path, &[gzip]).await;
        let mut whole = lasting(&plain);
        whole.insert("vary", VARY_TOO.parse().unwrap());
        assert_eq!((lasting(&head), head.text.as_str()), (whole, ""), "{path}");
        let known = ("if-none-match", packed.header("etag"));
        for method in methods("GET HEAD") {
            let again = with(&app, method, path, &[gzip, known]).await;
            again.is_text(304, "");
            assert_eq!(again.header("vary"), VARY_TOO, "{path}");
            for name in ["content-encoding", "content-type", "content-length"] {
                assert_eq!(again.header(name), "", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn small_answer_is_not_compressed() {
    let app = app().await;
    let empty = describe(&app, "").await.text.len();
    for (size, is_packed) in [(1023, false), (1024, true)] {
        describe(&app, &"x".repeat(size - empty)).await;
        let plain = app.get(LONG).await;
        assert_eq!(plain.text.len(), size);
        let packed = Packed::get(&app, LONG).await;
        if is_packed {
            assert_eq!((packed.text(), packed.header("vary")), (plain.text, VARY_TOO));
        } else {
            assert_eq!(
                (&*packed.bytes, packed.header("vary")),
                (plain.text.as_bytes(), VARY)
            );
            assert_eq!(packed.header("content-encoding"), "");
        }
    }
}

#[tokio::test]
async fn gzip_is_sent_only_if_preferred() {
    let app = app_with_long_text().await;
    for (asked, gzip) in [
        ("gzip", true),
        ("GZIP", true),
        ("x-gzip", true),
        ("gzip, deflate, br, zstd", true),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
        ("gzip;q=0.001", true),
        ("gzip ; q=0.5", true),
        ("gzip;Q=1", true),
        ("*", true),
        ("identity;q=0, *", true),
        ("identity;q=0, gzip;q=0.5", true),
        ("identity;q=0.5, gzip;q=0.5", true),
        ("", false),
        ("identity", false),
        ("br", false),
        ("deflate, zstd", false),
        ("unknown, gzipped", false),
        ("gzip;q=0", false),
        ("gzip;q=0.000, *", false),
        ("*;q=0", false),
        ("identity;q=0", false),
        ("identity;q=0, gzip;q=0", false),
        ("identity, gzip;q=0.5", false),
        ("gzip;q=0.5, *;q=1", false),
        ("gzip;q=2", false),
        ("gzip;q=NaN", false),
        ("gzip;q=-1", false),
        ("gzip;level=1", false),
    ] {
        let answer = with(&app, Method::GET, LONG, &[("accept-encoding", asked)]).await;
        assert_eq!(answer.status, 200, "{asked}");
        let expected = if gzip { ("gzip", VARY_TOO) } else { ("", VARY) };
        assert_eq!(
            (answer.header("content-encoding"), answer.header("vary")),
            expected,
            "{asked}"
        );
    }
    let lines = [("accept-encoding", "br"), ("accept-encoding", "gzip")];
    let answer = with(&app, Method::GET, LONG, &lines).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
}

#[tokio::test]
async fn answers_to_writes_are_never_compressed() {
    let app = app_with_long_text().await;
    let gzip = ("accept-encoding", "gzip");
    for method in methods("PUT PATCH") {
        let request = app.request(method, LONG).header(gzip.0, gzip.1);
        let body = json!({ "title": "Lamp", "price": "1", "category_id": 1 });
        let answer = send(request.json(&body)).await;
        assert_eq!(answer.body["title"], "Lamp");
        assert!(answer.text.len() > 3000);
        assert_eq!(
            (answer.header("content-encoding"), answer.header("vary")),
            ("", VARY)
        );
    }
}

#[tokio::test]
async fn api_docs_are_compressed_and_cached() {
    let app = TestApp::start().await;
    for path in ["/api/docs/swagger-ui-bundle.js", "/api/openapi.json"] {
        let plain = ask(&app, Method::GET, path).await;
        assert_eq!(
            (plain.header("content-encoding"), plain.header("vary")),
            ("", "origin")
        );
        let packed = Packed::get(&app, path).await;
        assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
        assert_eq!(packed.header("vary"), "Accept-Encoding, origin", "{path}");
        assert_eq!(packed.text(), plain.text, "{path}");
        let known = ("if-none-match", packed.header("etag"));
        with(&app, Method::GET, path, &[known]).await.is_text(304, "");
    }
    let picture = Packed::get(&app, "/api/docs/favicon-32x32.png").await;
    assert_eq!(
        (picture.status.as_u16(), picture.header("content-encoding")),
        (200, "")
    );
}

#[tokio::test]
async fn not_modified_answers_count_against_the_rate_limit() {
    let app = TestApp::start_with(HttpSettings {
        rate_limit_enabled: true,
        ..production()
    })
    .await;
    let path = "/api/products/autocomplete/?q=lamp";
    let tag = app.get(path).await.header("etag").to_owned();
    for remaining in (0..19).rev() {
        let again = with(&app, Method::GET, path, &[("if-none-match", &tag)]).await;
        again.is_text(304, "");
        assert_eq!(again.header("x-ratelimit-remaining"), remaining.to_string());
    }
    let refused = with(&app, Method::GET, path, &[("if-none-match", &tag)]).await;
    assert_eq!((refused.status.as_u16(), refused.header("etag")), (429, ""));
}
