//! Spans for an OpenTelemetry collector, by OTLP over HTTP.
//!
//! A thread exports them in batches. It drops what the collector does not take: an unavailable collector costs a log line, never
//! a request.

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{Status, TraceContextExt, TracerProvider},
};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use reqwest::{Body, Client};
use tokio::runtime::{Builder, Runtime};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::http_client;

/// How long the export of the last spans may take at the end of the process.
const SHUTDOWN_FLUSH: Duration = Duration::from_secs(2);

/// How long the collector may take for a batch, unless `OTEL_EXPORTER_OTLP_TIMEOUT` is set.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest response of a collector that is read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The export never stops before the process.
static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Whether spans are exported.
pub fn are_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The endpoint or another variable of OpenTelemetry is invalid.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// The HTTP client cannot be set up.
    #[error("no HTTP client to send spans: {0}")]
    Client(#[from] reqwest::Error),
    /// There is no runtime to export on.
    #[error("no thread to send spans: {0}")]
    Runtime(#[from] std::io::Error),
}

/// The export of spans.
#[derive(Clone, Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Exports to the collector at `endpoint`, such as `http://localhost:4318`. OpenTelemetry's own variables set name, sampler,
    /// headers and batches.
    ///
    /// # Errors
    /// When one of them is invalid.
    pub fn to(endpoint: &str) -> Result<Self, TracesError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()?;
        let exporter = Reporting {
            exporter,
            failing: AtomicBool::new(false),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        EXPORTED.store(true, Ordering::Relaxed);
        Ok(Self(provider))
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
    }

    /// Exports the remaining spans. Blocks for at most two seconds.
    pub fn stop(self) {
        if let Err(error) = self.0.shutdown_with_timeout(SHUTDOWN_FLUSH) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// The resource of all spans. The environment may name it otherwise.
fn resource() -> Resource {
    let named = env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty())
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|attributes| attributes.contains("service.name="));
    let resource = Resource::builder().with_attribute(opentelemetry::KeyValue::new(
        "service.version",
        env!("CARGO_PKG_VERSION"),
    ));
    if named {
        resource.build()
    } else {
        resource.with_service_name(env!("CARGO_PKG_NAME")).build()
    }
}

/// Adds a request's span to the trace of the client's `traceparent`, and records the trace as `trace_id`.
pub fn join_trace(span: &Span, headers: &HeaderMap) {
    let parent =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    if parent.span().span_context().is_valid() {
        let _ = span.set_parent(parent);
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() {
        span.record("trace_id", tracing::field::display(context.trace_id()));
    }
}

/// Records the status of the answer in a request's span.
pub fn finish_request(span: &Span, status: StatusCode) {
    if !are_exported() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}

/// Logs when the export starts to fail, and when it works again.
#[derive(Debug)]
struct Reporting {
    exporter: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let was_failing = self.failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !was_failing => {
                tracing::warn!(%error, "spans cannot be exported; they are dropped until the collector takes them");
            }
            Ok(()) if was_failing => tracing::info!("spans are being exported again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Sends on a runtime of its own, which takes no time from requests and lives until the last spans are sent.
#[derive(Debug)]
struct Sender {
    /// `None` once dropped.
    runtime: Option<Runtime>,
    client: Client,
}

impl Sender {
    fn new() -> Result<Self, TracesError> {
        let timeout = env::var("OTEL_EXPORTER_OTLP_TIMEOUT")
            .ok()
            .and_then(|milliseconds| milliseconds.parse().ok())
            .map_or(EXPORT_TIMEOUT, Duration::from_millis);
        Ok(Self {
            runtime: Some(Builder::new_current_thread().enable_all().build()?),
            client: http_client::builder().timeout(timeout).build()?,
        })
    }
}

impl Drop for Sender {
    /// Dropping a runtime waits for DNS lookups; this does not.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let response: Response<Body> = self.client.execute(request.try_into()?).await?.into();
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        // The exporting thread may block: it has nothing else to do.
        let runtime = self.runtime.as_ref().ok_or("the export has ended")?;
        runtime.block_on(exchange)
    }
}
