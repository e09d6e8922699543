//! The middleware around all routes, on one page, from the outermost to the innermost.

use std::{any::Any, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, Uri, header, uri::PathAndQuery},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};

use super::{
    cors::{self, Cors},
    hosts::{self, HostCheck},
    measure::Measure,
    span,
    work::Workshop,
};
use crate::{
    config::HttpSettings,
    http::{self, ApiError, Client, REQUEST_ID, Scheme},
    telemetry::{self, LineLimit},
};
use redis_rate_limit::TrustedProxies;

/// Puts the middleware around `routes`.
///
/// What need not wait for anything is a plain function: each layer that may wait costs a copy of all that is within it.
pub(super) fn around(routes: Router, http: &HttpSettings, workshop: Workshop) -> Router {
    let proxies = http.trusted_proxies.clone();
    let doors = Arc::new(Doors {
        cors: Cors::new(http),
        hosts: HostCheck(http.allowed_hosts.clone()),
        workshop,
    });
    let stack = ServiceBuilder::new()
        .option_layer(telemetry::counts().then(Measure::new))
        // A request id that could not be logged or sent back is as good as none.
        .map_request(drop_strange_request_id)
        .map_request(hosts::prefer_request_line)
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        // Failures are logged where they become answers, not once more here.
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span::open)
                .on_response(span::answered)
                .on_failure(()),
        )
        .map_response(add_security_headers)
        .map_request(move |request| note_client(&proxies, request))
        .layer(from_fn_with_state(doors, pass))
        // Innermost, so that a panic is an answer like any other, with all the headers of one.
        .layer(CatchPanicLayer::custom(panicked));
    // The path is completed before the routes see it, so this stands around the router that has them.
    Router::new().fallback_service(
        ServiceBuilder::new()
            // Below the router that counts lengths last.
            .map_response(http::without_length)
            .map_request(complete_path)
            .service(routes.layer(stack)),
    )
}

fn add_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Tells a browser that came through TLS to do so for a year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Who may come in, and what is done for them.
struct Doors {
    cors: Cors,
    hosts: HostCheck,
    workshop: Workshop,
}

/// Preflights are answered, and requests for other hosts refused; all others go on. A preflight is about an origin, not
/// about what is asked for, so its host does not matter.
async fn pass(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    if let Some(answer) = doors.cors.preflight(&request) {
        return doors.cors.share(None, answer.await).await;
    }
    let origin = cors::origin_of(&request);
    let client = request.extensions().get::<Client>();
    let is_behind_tls = client.is_some_and(|client| client.scheme == Scheme::Https);
    let response = match check(&doors, &request) {
        Ok(()) => doors.workshop.run(request, next).await,
        Err(refusal) => refusal.into_response(),
    };
    let mut response = doors.cors.share(origin, response).await;
    if is_behind_tls {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

fn check(doors: &Doors, request: &Request) -> Result<(), ApiError> {
    http::check_query(request.uri().query().unwrap_or_default())?;
    doors.hosts.check(request)
}

fn drop_strange_request_id(mut request: Request) -> Request {
    let strange = request
        .headers()
        .get(&REQUEST_ID)
        .is_some_and(|id| !(1..=128).contains(&id.len()) || !id.as_bytes().iter().all(u8::is_ascii_graphic));
    if strange {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// Resources end in a slash; a client that forgets it gets the same resource. Files, which have a dot, do not.
fn complete_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let is_file = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if path.ends_with('/') || is_file {
        return request;
    }
    let completed = match request.uri().query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    if let Ok(completed) = PathAndQuery::try_from(completed) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(completed);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Log lines a minute about proxies that are not believed.
static UNTRUSTED_PROXIES: LineLimit = LineLimit::new(1);

/// Notes how the client reached the server. A proxy on this machine, or a trusted one, is believed that it was reached through
/// TLS; only a trusted one is believed on whose behalf it asks.
fn note_client(proxies: &TrustedProxies, mut request: Request) -> Request {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0.ip());
    if let Some(peer) = peer
        && !proxies.trusts(peer)
        && request.headers().contains_key("x-forwarded-for")
        && let Some(left_out) = UNTRUSTED_PROXIES.admit(None)
    {
        tracing::warn!(
            %peer,
            left_out,
            "X-Forwarded-For is ignored: if this peer is your reverse proxy, name it in TRUSTED_PROXIES, else its clients share one address"
        );
    }
    let believed = peer.is_some_and(|peer| peer.is_loopback() || proxies.trusts(peer));
    let claimed = request
        .headers()
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto == "https");
    let client = Client {
        scheme: if believed && claimed {
            Scheme::Https
        } else {
            Scheme::Http
        },
        address: peer.map(|peer| proxies.client_address(peer, request.headers())),
    };
    request.extensions_mut().insert(client);
    request
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or_default()
            .to_owned(),
    };
    ApiError::Internal(format!("a handler panicked: {text}").into()).into_response()
}
