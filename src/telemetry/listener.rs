//! `/metrics`, on an address of its own: clients of the API do not see it.
//!
//! It outlives the drain, so that operators can watch it, and ends with the process. The exporter's own listener limits neither
//! connections nor their time, and cannot update gauges before a scrape.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{interval, sleep, timeout},
};

use super::Metrics;

/// Connections at a time. A Prometheus server has one; others wait.
const CONNECTIONS: usize = 8;
/// The time for a connection, which is for one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves `metrics` for as long as the runtime runs.
pub async fn serve(listener: TcpListener, metrics: Metrics) -> Infallible {
    tokio::spawn(run_upkeep(metrics.clone()));
    let service = TowerToHyperService::new(router(metrics));
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = permits.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let mut http = http1::Builder::new();
                let serving = http
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(async move {
                    // A scrape that fails is repeated.
                    let _ = timeout(CONNECTION_TIMEOUT, serving).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for /metrics");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn run_upkeep(metrics: Metrics) {
    let mut ticks = interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

fn router(metrics: Metrics) -> Router {
    const TEXT: [(header::HeaderName, &str); 1] =
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Router::new()
        .route("/metrics", get(async move || (TEXT, metrics.text())))
        .fallback(async || (StatusCode::NOT_FOUND, "It is at /metrics.\n"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "GET only.\n"))
}
