//! The server gives every documented response and no other, and each matches its schema.

use std::{collections::BTreeSet, time::Duration};

use afforo::{
    auth::{Scope, Stores, api_key::NewKey},
    config::{ApiAuth, ApiAuthSetting, HttpSettings},
    server::Limits,
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{document, operations, requests::REQUESTS};
use crate::support::app::{Answer, TestApp, patient, production, send};

/// A server with an ordered category, product, store and stock row, each with the id 1, and ones without orders, with the
/// id 2. Order 1 is confirmed, order 2 rejected.
async fn app() -> TestApp {
    let http = HttpSettings {
        rate_limit_enabled: true,
        ..production()
    };
    let limits = Limits {
        // The readiness check shows that the server stops.
        delay: Duration::from_mins(1),
        ..patient()
    };
    let app = TestApp::start_within(http, limits).await;
    for number in 1..=2 {
        let (store, product) = (
            app.store(&format!("Store {number}")).await,
            app.product(&format!("Lamp {number}"), "10.00").await,
        );
        app.stock(store, product, 50).await;
    }
    app.order(1, &[(1, 1)]).await.created();
    app.order(1, &[(1, 99)]).await;
    app
}

const JSON: (&str, &str) = ("content-type", "application/json");
const REPLAYED: &str = "Idempotent-Replayed";

/// The document, and the responses seen so far.
struct Checker {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

impl Checker {
    /// Records a response and compares it with the document.
    #[track_caller]
    fn check(&mut self, method: &Method, url: &str, sent: Option<&Value>, answer: &Answer) {
        let path = url.split('?').next().unwrap();
        let is_id = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = path
            .split('/')
            .map(|part| if is_id(part) { "{id}" } else { part });
        let mut parts = parts.collect::<Vec<_>>();
        if parts.get(3) == Some(&"by-sku") {
            parts[4] = "{sku}";
        }
        let path = parts.join("/");
        let (method, status) = (
            method.as_str().to_ascii_lowercase(),
            answer.status.as_str().to_owned(),
        );
        let operation = &self.document["paths"][&path][&method];
        let described = self.resolve(&operation["responses"][&status]);
        assert!(
            described.is_object(),
            "undocumented: {method} {url}: {status} {}",
            answer.text
        );
        match described["content"]["application/json"].get("schema") {
            Some(schema) => self.validate(schema, &answer.body, &format!("{method} {url}")),
            None => assert_eq!(answer.text, "", "{method} {url}: documented without a body"),
        }
        let names = described["headers"]
            .as_object()
            .into_iter()
            .flat_map(|headers| headers.keys());
        // The first response has no header for replays.
        for name in names.filter(|name| *name != REPLAYED) {
            assert_ne!(answer.header(name.as_str()), "", "{method} {url}: {name}");
        }
        if let Some(sent) = sent.filter(|_| answer.status.is_success()) {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            self.validate(schema, sent, &format!("body of {method} {url}"));
        }
        self.seen.insert((path, method, status));
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        target.map_or(value, |target| self.document.pointer(target).unwrap())
    }

    #[track_caller]
    fn validate(&self, schema: &Value, body: &Value, what: &str) {
        let mut schema = json!({ "allOf": [schema], "components": self.document["components"] });
        close(&mut schema);
        let errors = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = errors.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {body}: {errors:#?}");
    }
}

/// Makes the schema reject undocumented fields.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("type") == Some(&json!("object")) && members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(close),
        _ => {}
    }
}

/// Repeats a request of each kind under its key, sends another request under that key, and one under a key in use.
async fn repeat(app: &TestApp, checker: &mut Checker) {
    const POSTS: [(&str, &str); 24] = [
        ("/api/categories/", r#"{"name":"Once"}"#),
        (
            "/api/products/",
            r#"{"title":"Once","price":"5","category_id":1}"#,
        ),
        (
            "/api/products/bulk/",
            r#"{"products":[{"sku":"ONCE","title":"Once","price":"5","category_id":1}]}"#,
        ),
        ("/api/stores/", r#"{"name":"Once","location":"Here"}"#),
        ("/api/inventory/", r#"{"store_id":2,"product_id":2}"#),
        (
            "/api/inventory/1/movements/",
            r#"{"kind":"count","quantity":5,"reason":"Again"}"#,
        ),
        (
            "/api/inventory/adjustments/",
            r#"{"reason_code":"FOUND","adjustments":[{"inventory_id":1,"delta":1}]}"#,
        ),
        (
            "/api/inventory/reversals/",
            r#"{"reference":"B","reason":"Again"}"#,
        ),
        (
            "/api/orders/",
            r#"{"store_id":1,"items":[{"product_id":1,"quantity":1}]}"#,
        ),
        ("/api/orders/1/redact/", r#"{"ignored":1}"#),
        ("/api/orders/7/cancellations/", r#"{"reason":"Late"}"#),
        (
            "/api/orders/10/returns/",
            r#"{"items":[{"product_id":1,"quantity":1}],"reason":"Late"}"#,
        ),
        ("/api/orders/11/fulfillments/", r#"{"note":"Fragile"}"#),
        (
            "/api/reservations/",
            r#"{"store_id":1,"items":[{"product_id":1,"quantity":1}]}"#,
        ),
        ("/api/reservations/2/extend/", r#"{"ttl_seconds":60}"#),
        ("/api/reservations/2/release/", r#"{"items":null}"#),
        (
            "/api/transfers/",
            r#"{"from_store_id":1,"to_store_id":2,"items":[{"product_id":1,"quantity":1}]}"#,
        ),
        ("/api/transfers/5/ship/", r#"{"items":null}"#),
        ("/api/transfers/7/receive/", r#"{"close":true}"#),
        (
            "/api/transfers/6/cancel/",
            r#"{"items":[{"product_id":1,"returned":1}]}"#,
        ),
        (
            "/api/stock-counts/",
            r#"{"store_id":1,"scope":{"product_ids":[1]}}"#,
        ),
        (
            "/api/stock-counts/3/lines/",
            r#"{"lines":[{"product_id":1,"counted":1}]}"#,
        ),
        ("/api/stock-counts/3/apply/", r#"{"uncounted":"ignore"}"#),
        ("/api/stock-counts/4/cancel/", r#"{"expected_version":1}"#),
    ];
    let (id, key) = admin(app).await;
    let bearer = format!("Bearer {key}");
    let auth = ("authorization", bearer.as_str());
    let conflict = async |(path, body): (&str, &str)| {
        let key = format!("in_use_{path}");
        let headers = [JSON, auth, ("idempotency-key", key.as_str())];
        ask(app, &Method::POST, path, &headers, body).await
    };
    let mut in_use = Vec::new();
    // Each waits for its key with its stock rows locked, so the others wait that long for the rows.
    for posts in POSTS.chunks(4) {
        let mut held = app.pool.begin().await.unwrap();
        sqlx::query(
            "insert into idempotency_key select format('key:%s in_use_%s', $2, path), '', 200, '' from unnest($1::text[]) path",
        )
        .bind(posts.iter().map(|(path, _)| *path).collect::<Vec<_>>())
        .bind(id)
        .execute(&mut *held)
        .await
        .unwrap();
        in_use.extend(join_all(posts.iter().copied().map(conflict)).await);
        held.rollback().await.unwrap();
    }
    for ((path, _), answer) in POSTS.iter().zip(in_use) {
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (409, "1"));
        checker.check(&Method::POST, path, None, &answer);
    }
    for (path, body) in POSTS {
        let key = [JSON, auth, ("idempotency-key", path)];
        let first = ask(app, &Method::POST, path, &key, body).await;
        checker.check(&Method::POST, path, None, &first);
        let again = ask(app, &Method::POST, path, &key, body).await;
        assert_eq!(again.header(REPLAYED), "true");
        checker.check(&Method::POST, path, None, &again);
        let other = ask(app, &Method::POST, path, &key, "{}").await;
        assert_eq!(other.status, 422);
        checker.check(&Method::POST, path, None, &other);
    }
}

/// The id and the text of a key with all permissions.
async fn admin(app: &TestApp) -> (i64, String) {
    let new = NewKey {
        name: "Admin".to_owned(),
        scopes: [Scope::Admin].into_iter().collect(),
        stores: Stores::All,
        expires_at: None,
    };
    let (key, text) = app.key_of(&new).await;
    (key.id, text)
}

/// Sends requests without a key, with a key without permissions, and with too many invalid keys.
async fn be_refused(guarded: &TestApp, checker: &mut Checker) {
    let useless = guarded.key(&[], Stores::All).await;
    for attempt in [None, Some(useless.as_str()), Some("afk_wrong")] {
        if attempt == Some("afk_wrong") {
            for _ in 0..20 {
                let headers = [("x-api-key", "afk_wrong")];
                ask(guarded, &Method::GET, "/api/stores/", &headers, "").await;
            }
        }
        for (path, method, _) in operations(&checker.document.clone()) {
            if !path.starts_with("/api/") {
                continue;
            }
            let (url, method) = (
                path.replace("{id}", "1").replace("{sku}", "LAMP"),
                method.to_ascii_uppercase().parse().unwrap(),
            );
            let headers: Vec<(&str, &str)> = attempt.into_iter().map(|key| ("x-api-key", key)).collect();
            let answer = ask(guarded, &method, &url, &headers, "").await;
            checker.check(&method, &url, None, &answer);
        }
    }
}

async fn ask(app: &TestApp, method: &Method, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = app.request(method.clone(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(body.to_owned())).await
}

#[tokio::test]
async fn every_documented_response_occurs_and_matches_its_schema() {
    let app = app().await;
    let mut checker = Checker {
        document: document(),
        seen: BTreeSet::new(),
    };
    for line in REQUESTS.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, url, body, status] = parts.try_into().unwrap();
        let method: Method = method.parse().unwrap();
        let sent = serde_json::from_str(body).ok();
        let answer = match body {
            "-" => ask(&app, &method, url, &[], "").await,
            body => ask(&app, &method, url, &[JSON], body).await,
        };
        assert_eq!(answer.status.as_str(), status, "{line}: {}", answer.text);
        checker.check(&method, url, sent.as_ref(), &answer);
        if (method, status) == (Method::GET, "200") && url.starts_with("/api/") {
            let has_it = [("if-none-match", answer.header("etag"))];
            let answer = ask(&app, &Method::GET, url, &has_it, "").await;
            assert_eq!(answer.status, 304, "{line}");
            checker.check(&Method::GET, url, None, &answer);
        }
    }

    // Responses of all operations.
    let document = checker.document.clone();
    let large = "x".repeat(1024 * 1024 + 1);
    for (path, method, operation) in operations(&document) {
        let (url, method) = (
            path.replace("{id}", "1").replace("{sku}", "LAMP"),
            method.to_ascii_uppercase().parse().unwrap(),
        );
        if operation["responses"]["412"].is_object() {
            let answer = ask(&app, &method, &url, &[("if-match", "\"other\"")], "").await;
            checker.check(&method, &url, None, &answer);
        }
        if path.starts_with("/api/") {
            let answer = ask(&app, &method, &url, &[("accept", "image/png")], "").await;
            checker.check(&method, &url, None, &answer);
        }
        if operation["requestBody"].is_object() {
            let answer = ask(&app, &method, &url, &[JSON], &large).await;
            checker.check(&method, &url, None, &answer);
            let answer = ask(&app, &method, &url, &[("content-type", "text/plain")], "x").await;
            checker.check(&method, &url, None, &answer);
        }
    }
    let guarded = app
        .beside_with(HttpSettings {
            api_auth: ApiAuthSetting(Some(ApiAuth::All)),
            ..production()
        })
        .await;
    repeat(&guarded, &mut checker).await;
    let (_, key) = admin(&app).await;
    let url = "/api/orders/99/redact/";
    let answer = ask(&guarded, &Method::POST, url, &[("x-api-key", &key)], "").await;
    checker.check(&Method::POST, url, None, &answer);
    let url = "/api/products/autocomplete/?q=lamp";
    for _ in 0..20 {
        let answer = app.get(url).await;
        checker.check(&Method::GET, url, None, &answer);
    }
    be_refused(&guarded, &mut checker).await;
    app.stop.announced.cancel();
    let unready = app.get("/health/ready/").await;
    checker.check(&Method::GET, "/health/ready/", None, &unready);

    for (path, method, operation) in operations(&document) {
        for status in operation["responses"].as_object().unwrap().keys() {
            let pair = (path.clone(), method.clone(), status.clone());
            assert!(
                checker.seen.contains(&pair),
                "documented, but never seen: {pair:?}"
            );
        }
    }
}
