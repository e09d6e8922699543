//! `/metrics`, on an address of its own: numbers about the service are not for its clients.
//!
//! It outlives the drain, so that one can watch it, and ends with the process.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, http};
use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{interval, sleep, timeout},
};

use super::Metrics;

/// Connections at a time: a Prometheus has one, and there are rarely two.
const CONNECTIONS: usize = 8;
/// For a request and its answer, all in all; each has a connection of its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two clean-ups of what nobody looks at.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// After a connection that could not be taken, as when there are too many files open.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves `metrics` for as long as the runtime runs.
pub async fn serve(listener: TcpListener, metrics: Metrics) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let tidied = metrics.clone();
    tokio::spawn(async move {
        let mut times = interval(TIDY_EVERY);
        loop {
            times.tick().await;
            tidied.tidy();
        }
    });
    loop {
        // Whoever is too many waits for a place, unanswered.
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((connection, _)) => {
                let metrics = metrics.clone();
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, answer(connection, metrics)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for /metrics could not be taken");
                sleep(PAUSE).await;
            }
        }
    }
}

/// What goes wrong with a connection is the client's affair: it asks again.
async fn answer(connection: TcpStream, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &metrics);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let _ = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Body> {
    let (status, body) = if request.uri().path() != "/metrics" {
        (StatusCode::NOT_FOUND, "It is at /metrics.\n".to_owned())
    } else if [Method::GET, Method::HEAD].contains(request.method()) {
        (StatusCode::OK, metrics.text())
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, "GET only.\n".to_owned())
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let text = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
