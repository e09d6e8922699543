//! Personal data of orders: erased on request, and never in the audit log, logs or traces.

use std::sync::{Arc, Mutex};

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use axum::{Router, body::Bytes, extract::State, routing::post};
use reqwest::{Method, RequestBuilder};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::{ORDERS, full, keyed, lamp, shop};
use crate::{
    auth::guarded,
    support::{
        app::{client, send},
        program::{Running, afforo, on},
    },
};

/// Values of customer and note.
const SECRETS: [&str; 5] = [
    "C-4711",
    "Ada Q. Lovelace",
    "ada.q@example.com",
    "+31 6 4711",
    "the blue door",
];

fn secret() -> Value {
    let [reference, name, email, phone, note] = SECRETS;
    json!({
        "external_reference": "WEB-1", "note": note,
        "customer": { "reference": reference, "name": name, "email": email, "phone": phone },
    })
}

/// The rows of a table as text.
async fn rows(pool: &PgPool, table: &str) -> String {
    let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
    sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn redaction_erases_customer_note_and_stored_responses() {
    let open = shop().await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    keyed(&open, "other", ORDERS, &lamp(full_of_other()))
        .await
        .created();
    let id = keyed(&open, "secret", ORDERS, &lamp(secret())).await.created();
    let path = format!("{ORDERS}{id}/redact/");
    let admin = app.key(&[Scope::Admin], Stores::All).await;
    let ask = async |key: &str, path: &str| send(app.request(Method::POST, path).bearer_auth(key)).await;
    let manager = app
        .key(&[Scope::OrdersManage, Scope::OrdersWrite], Stores::All)
        .await;
    assert_eq!(ask(&manager, &path).await.status, 403);
    assert_eq!(open.post(&path, &json!({})).await.status, 403, "the API is open");
    let bound = app.key(&[Scope::Admin], Stores::Only([2].into())).await;
    assert_eq!(ask(&bound, &path).await.status, 404);
    assert_eq!(ask(&admin, "/api/orders/99/redact/").await.status, 404);

    let dry = ask(&admin, &format!("{path}?dry_run=true")).await;
    assert_eq!((dry.status.as_u16(), dry.header("dry-run")), (200, "true"));
    assert!(
        open.get(&format!("{ORDERS}{id}/"))
            .await
            .body
            .get("note")
            .is_some()
    );
    let redacted = ask(&admin, &path).await;
    assert_eq!(redacted.status, 200, "{}", redacted.text);
    assert_eq!(redacted.body["external_reference"], "WEB-1");
    assert_eq!(open.get(&format!("{ORDERS}{id}/")).await.body, redacted.body);
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&open.pool)
            .await
            .unwrap();
    for table in tables {
        let rows = rows(&open.pool, &table).await;
        for secret in SECRETS {
            assert!(
                !rows.to_uppercase().contains(&secret.to_uppercase()),
                "{table}: {rows}"
            );
        }
    }
    let found = open.get("/api/orders/?customer=ada.q@example.com").await;
    assert_eq!(found.body["count"], 0);
    // The response of another order stays. The request of this one is a duplicate now, and not placed again.
    let other = keyed(&open, "other", ORDERS, &lamp(full_of_other())).await;
    assert_eq!(other.header("idempotent-replayed"), "true");
    assert_eq!(keyed(&open, "secret", ORDERS, &lamp(secret())).await.status, 409);
    assert_eq!(open.unbalanced().await, []);
}

fn full_of_other() -> Value {
    let mut other = full();
    other["external_reference"] = json!("WEB-9");
    other
}

/// The bytes that a collector of traces received.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let received = Arc::<Mutex<Vec<u8>>>::default();
    let collect = async |State(received): State<Arc<Mutex<Vec<u8>>>>, body: Bytes| {
        received.lock().unwrap().extend_from_slice(&body);
    };
    let router = Router::new().fallback(post(collect)).with_state(received.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (url, received)
}

#[tokio::test]
async fn customer_and_note_are_in_no_audit_entry_log_line_or_trace() {
    let app = shop().await;
    let (url, traces) = collector().await;
    let mut command = afforo(&["serve", "127.0.0.1:0"]);
    on(&mut command, &app.database_url, app.redis.url());
    let settings = [
        ("API_AUTH", "all"),
        ("SECRET_KEY", "a long and random text of the tests"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info,afforo=trace,sqlx=debug,tower_http=trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
    ];
    let mut server = Running::start(command.envs(settings));
    let base = {
        let line: Value = serde_json::from_str(&server.says("listening on http://").await).unwrap();
        let (_, base) = line["message"]
            .as_str()
            .unwrap()
            .split_once("listening on ")
            .unwrap();
        base.to_owned()
    };
    let key = app.key(&[Scope::Admin], Stores::All).await;
    let ask = |method: Method, path: &str| -> RequestBuilder {
        client()
            .request(method, format!("{base}{path}"))
            .bearer_auth(&key)
    };
    let placed = ask(Method::POST, ORDERS).header("idempotency-key", "a");
    let path = format!("{ORDERS}{}/", send(placed.json(&lamp(secret()))).await.created());
    let mut rejected = lamp(secret());
    (rejected["items"][0]["quantity"], rejected["external_reference"]) = (json!(9999), json!("WEB-2"));
    let [.., email, _, note] = SECRETS;
    for (request, status) in [
        (ask(Method::POST, ORDERS).json(&rejected), 200),
        (ask(Method::POST, ORDERS).json(&lamp(secret())), 409),
        (
            ask(Method::PATCH, &path)
                .json(&json!({ "note": note, "customer": { "email": "new@example.com" } })),
            200,
        ),
        (
            ask(Method::PATCH, &path).json(&json!({ "note": note.repeat(999) })),
            400,
        ),
        (
            ask(Method::PATCH, &path).json(&json!({ "note": "new note", "customer": { "email": email } })),
            200,
        ),
        (ask(Method::GET, &format!("{ORDERS}?customer={email}")), 200),
        (ask(Method::POST, &format!("{path}redact/")), 200),
    ] {
        let answer = send(request).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    // A statement that fails is logged with its error.
    sqlx::query("alter table orders add constraint no_notes check (note is null) not valid")
        .execute(&app.pool)
        .await
        .unwrap();
    for request in [
        ask(Method::PATCH, &path).json(&json!({ "note": note })),
        ask(Method::POST, ORDERS).json(&lamp(json!({ "note": note, "customer": secret()["customer"] }))),
    ] {
        assert!(send(request).await.status.is_server_error());
    }
    server.signal(Signal::TERM);
    server.ends().await;

    let audit = rows(&app.pool, "audit_log").await;
    for action in ["order.placed", "order.changed", "order.redacted"] {
        assert!(audit.contains(action), "{audit}");
    }
    for name in ["customer.email", "note"] {
        assert!(audit.contains(name), "the names of members: {audit}");
    }
    let traces = String::from_utf8_lossy(&traces.lock().unwrap()).into_owned();
    assert!(traces.contains("POST /api/orders/"), "{traces}");
    let output = server.output();
    assert!(output.contains("no_notes"), "{output}");
    for secret in SECRETS.into_iter().chain(["new@example.com", "new note"]) {
        for (place, text) in [("audit log", &audit), ("trace", &traces), ("log", &output)] {
            assert!(!text.contains(secret), "{secret} is in the {place}: {text}");
        }
    }
}
