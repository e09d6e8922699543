//! The export of spans to a collector of the test.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use reqwest::Method;
use rustix::process::Signal;
use tokio::net::TcpListener;

use super::serve;
use crate::support::{
    app::{TestApp, client, order, send},
    program::{Running, afforo, eventually, on},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[tokio::test]
async fn request_joins_the_trace_of_its_client() {
    let app = TestApp::start().await;
    let collector = Collector::start().await;
    let mut server = serve(
        &app,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop"),
            ("OTEL_SERVICE_NAME", "afforo-of-a-test"),
            // The log level does not affect spans.
            ("RUST_LOG", "error,afforo::cli=info"),
        ],
    );
    let base = format!("http://{}", server.address().await);
    let ask = |method: Method, path: &str| client().request(method, format!("{base}{path}"));
    let asked = ask(Method::GET, "/api/stores/4711/")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("x-request-id", "asked-by-a-test");
    assert_eq!(send(asked).await.status, 404);
    let not_sampled = ask(Method::GET, "/health/").header("traceparent", format!("00-{TRACE}-{PARENT}-00"));
    assert_eq!(send(not_sampled).await.status, 200);
    assert_eq!(send(ask(Method::POST, "/nowhere/")).await.status, 404);
    // The process exports the remaining spans when it ends.
    server.signal(Signal::TERM);
    assert_eq!(server.ends().await.code(), Some(0), "{}", server.output());

    let spans = collector.spans();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET /api/stores/{id}/", "POST"]);
    let span = &spans[0];
    assert_eq!(
        (hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()),
        (TRACE, PARENT)
    );
    assert_eq!(span.kind(), SpanKind::Server);
    for (name, value) in [
        ("request_id", "asked-by-a-test"),
        ("method", "GET"),
        ("path", "/api/stores/4711/"),
        ("route", "/api/stores/{id}/"),
        ("http.response.status_code", "404"),
    ] {
        assert_eq!(
            attribute(&span.attributes, name).as_deref(),
            Some(value),
            "{name}"
        );
    }
    let root = &spans[1];
    assert_eq!(hex(&root.parent_span_id), "");
    assert_ne!(hex(&root.trace_id), TRACE);
    let seen = collector.seen.lock().unwrap();
    assert!(seen.iter().all(|(headers, _)| headers["x-tenant"] == "shop"));
    let resource = seen[0].1.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(
        attribute(&resource.attributes, "service.name").as_deref(),
        Some("afforo-of-a-test")
    );
}

#[tokio::test]
async fn placement_and_confirmation_of_an_order_have_spans() {
    let app = TestApp::start().await;
    let collector = Collector::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 3).await;
    app.order(store, &[(product, 1)]).await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut command = afforo(&["serve", "127.0.0.1:0", "--with-worker"]);
    on(&mut command, &app.database_url, app.redis.url());
    let mut server = Running::start(command.envs(settings));
    let url = format!("http://{}/api/orders/", server.address().await);
    let placed = send(client().post(url).json(&order(store, &[(product, 1)]))).await;
    assert_eq!(placed.status, 201);
    for (name, attribute_name, value) in [("placement", "orders", "1"), ("job", "queue", "confirm-orders")] {
        eventually(name, async || {
            collector.spans().iter().any(|span| {
                span.name == name && attribute(&span.attributes, attribute_name).as_deref() == Some(value)
            })
        })
        .await;
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ends().await.code(), Some(0), "{}", server.output());
}

#[tokio::test]
async fn unavailable_collector_costs_a_log_line_and_no_request() {
    let app = TestApp::start().await;
    // The collector accepts connections but never responds.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoints = [hanging.local_addr().unwrap(), away.local_addr().unwrap()];
    drop(away);
    for endpoint in endpoints {
        let mut server = serve(
            &app,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{endpoint}")),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
                ("OTEL_BSP_SCHEDULE_DELAY", "10"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
            ],
        );
        let url = format!("http://{}/health/", server.address().await);
        // Far more spans than the queue holds.
        for _ in 0..200 {
            assert_eq!(send(client().get(&url)).await.status, 200);
        }
        server.says("spans cannot be exported").await;
        server.signal(Signal::TERM);
        assert_eq!(server.ends().await.code(), Some(0), "{}", server.output());
        assert_eq!(server.output().matches("spans cannot be exported").count(), 1);
        assert!(!server.output().contains("ERROR"), "{}", server.output());
    }
}

#[tokio::test]
async fn log_line_names_the_trace_of_its_request() {
    let app = TestApp::start().await;
    let collector = Collector::start().await;
    let mut server = serve(&app, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    let url = format!("http://{}/api/stores/1/", server.address().await);
    sqlx::query("alter table store rename to gone")
        .execute(&app.pool)
        .await
        .unwrap();
    let failed = client()
        .get(url)
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(send(failed).await.status, 503);
    let line = server.says("the database is unavailable").await;
    assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");
    eventually("the span has arrived", async || !collector.spans().is_empty()).await;
    assert_eq!(
        collector.spans()[0].status.as_ref().unwrap().code,
        2,
        "the span is an error"
    );
}

/// A trace collector that records its requests.
struct Collector {
    address: SocketAddr,
    seen: Seen,
}

type Seen = Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>;

impl Collector {
    async fn start() -> Self {
        let seen = Seen::default();
        let keep = async |State(seen): State<Seen>, headers: HeaderMap, body: Bytes| {
            let spans = ExportTraceServiceRequest::decode(body).unwrap();
            seen.lock().unwrap().push((headers, spans));
        };
        let app = Router::new()
            .route("/v1/traces", post(keep))
            .with_state(seen.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All spans so far, in the order in which they ended.
    fn spans(&self) -> Vec<Span> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .flat_map(|(_, request)| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
