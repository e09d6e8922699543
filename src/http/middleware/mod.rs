//! The middleware around all routes. From the outermost to the innermost:
//!
//! 1. `without_length`: removes the length of a 304, which the router within has set.
//! 2. `path::complete`: adds the last slash, before the path is matched to a route.
//! 3. `metrics::record`, if metrics are on: counts by route, including requests that a later layer refuses.
//! 4. `request_id::drop_unusable`, `hosts::prefer_request_line`: correct the headers that later layers read.
//! 5. Request id: made before the span, which has it, and added to each response.
//! 6. `TraceLayer`: the span that all log lines of later layers belong to.
//! 7. `security_headers::add`: around all layers that may answer.
//! 8. `client::note`: address and scheme, which admission and HSTS need.
//! 9. `check`: CORS preflight, query string, host, admission; on the response CORS and HSTS.
//! 10. `CatchPanicLayer`: a panic becomes a response, which gets all headers above.
//! 11. Extensions of `server`: API key authentication, write limit, idempotency store; the next layer reads them.
//! 12. [`api_route`], on API routes only: 404 for an id that is not a number, 406, API key and scope, write limit, retry,
//!     replica, idempotency, handler; on the response `ETag`, 304 and compression.

mod admission;
mod api;
pub(super) mod auth;
mod client;
mod cors;
mod hosts;
mod metrics;
mod panic;
mod path;
mod read_routing;
mod request_id;
pub(super) mod retry;
mod route_class;
mod security_headers;
mod trace;
mod write_limit;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};

use super::{Limits, REQUEST_ID, conditional::without_length, extract::check_query};
use crate::{config::HttpSettings, telemetry};
use redis_rate_limit::TrustedProxies;

pub use api::api_route;
pub use auth::ApiKeyAuth;
pub use client::Client;
pub use read_routing::{AFFORO_POSITION, route_reads};
pub use retry::retry_read;
pub use route_class::RouteClass;
pub use write_limit::WriteLimit;

use admission::Admission;
use cors::Cors;
use hosts::HostCheck;

/// Puts the middleware around groups of routes, one of which has the fallback. Writes run as tasks of `writes`.
pub fn around(
    groups: impl IntoIterator<Item = (RouteClass, Router)>,
    http: &HttpSettings,
    limits: &Limits,
    writes: TaskTracker,
) -> Router {
    let gate = Arc::new(Gate {
        cors: Cors::new(http),
        hosts: HostCheck(http.allowed_hosts.clone()),
        admission: Admission::new(limits, writes),
    });
    let groups = groups
        .into_iter()
        .map(|(class, routes)| around_group(class, routes, http.trusted_proxies.clone(), gate.clone()));
    let routes = groups.fold(Router::new(), Router::merge);
    // Around the router, because a path is completed before it is matched.
    Router::new().fallback_service(
        ServiceBuilder::new()
            // Within the outer router, which sets a length last.
            .map_response(without_length)
            .map_request(path::complete)
            .service(routes),
    )
}

/// Layers that do not wait are plain functions: each `from_fn` clones all that is within it for each request.
fn around_group(class: RouteClass, routes: Router, proxies: TrustedProxies, gate: Arc<Gate>) -> Router {
    let stack = ServiceBuilder::new()
        // Before an id is made: an id that cannot be logged or sent back is replaced.
        .map_request(request_id::drop_unusable)
        .map_request(hosts::prefer_request_line)
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        // `ApiError` logs failures, so this does not.
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(trace::open)
                .on_response(trace::answered)
                .on_failure(()),
        )
        .map_response(security_headers::add)
        .map_request(move |request| client::note(&proxies, request))
        .layer(from_fn_with_state((gate, class), check))
        // Innermost, so that the answer to a panic gets all headers.
        .layer(CatchPanicLayer::custom(panic::answer));
    let routes = routes.layer(stack);
    if telemetry::counts() {
        routes.layer(from_fn(metrics::record))
    } else {
        routes
    }
}

/// The checks that may answer a request before its route. They are one layer, because each layer clones all inner layers.
struct Gate {
    cors: Cors,
    hosts: HostCheck,
    admission: Admission,
}

/// Answers preflights, refuses requests for other hosts, and runs the rest within the server's limits. A preflight concerns an
/// origin, not a resource, so its host is not checked.
async fn check(
    State((gate, class)): State<(Arc<Gate>, RouteClass)>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(answer) = gate.cors.preflight(&request) {
        return gate.cors.share(None, answer.await).await;
    }
    let origin = cors::origin_of(&request);
    let is_behind_tls = client::is_behind_tls(&request);
    let allowed = check_query(request.uri().query().unwrap_or_default());
    let response = match allowed.and_then(|()| gate.hosts.check(&request, class)) {
        Ok(()) => gate.admission.run(request, next, class).await,
        Err(refusal) => refusal.into_response(),
    };
    let mut response = gate.cors.share(origin, response).await;
    if is_behind_tls {
        security_headers::add_hsts(&mut response);
    }
    response
}
