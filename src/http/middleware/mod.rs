//! The middleware around all routes. From the outermost to the innermost:
//!
//! 1. [`Routes`]: adds the last slash before the path is matched to a route, and removes the length of a 304, which the router
//!    has set.
//! 2. `run`, one layer around each group of routes, because axum boxes the future of each layer and clones all that is within:
//!    1. `InFlight`, if metrics are on: counts by route, including requests that a later step refuses.
//!    2. `request_id`, `hosts::prefer_request_line`: correct the headers that later steps read. Each response gets the id.
//!    3. `trace`: the span that all log lines of later steps belong to.
//!    4. `security_headers`: around all steps that may answer.
//!    5. `client::note`: address and scheme, which admission and HSTS need. [`ApiServices`], which API routes need.
//!    6. `check`: CORS preflight, query string, host, admission; on the response CORS and HSTS.
//!    7. `panic`: a panic becomes a response, which gets all headers above.
//! 3. [`api_route`], on API routes only: 404 for an id that is not a number, 406, API key and scope, write limit, retry,
//!    replica, idempotency, handler; on the response `ETag`, 304 and compression.

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
mod services;
mod trace;
mod write_limit;

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tokio_util::task::TaskTracker;
use tower::Service;

use super::{Limits, REQUEST_ID, conditional::without_length, extract::check_query};
use crate::{config::HttpSettings, telemetry};
use redis_rate_limit::TrustedProxies;

pub use api::api_route;
pub use auth::ApiKeyAuth;
pub use client::Client;
pub use read_routing::{AFFORO_POSITION, route_reads};
pub use retry::retry_read;
pub use route_class::RouteClass;
pub use services::ApiServices;
pub use write_limit::WriteLimit;

use admission::Admission;
use cors::Cors;
use hosts::HostCheck;
use metrics::InFlight;

/// All routes within the middleware. Clones share them.
#[derive(Clone)]
pub struct Routes(Router);

impl Routes {
    /// Answers a request. The routes are called here rather than in the future, which would move the large request once more.
    pub fn answer(&mut self, request: Request) -> impl Future<Output = Response> + use<> {
        let answering = self.0.call(path::complete(request));
        async {
            let Ok(response) = answering.await;
            without_length(response)
        }
    }
}

/// Puts the middleware around groups of routes, one of which has the fallback. API routes use `services`. Writes run as tasks of
/// `writes`.
pub fn around(
    groups: impl IntoIterator<Item = (RouteClass, Router)>,
    services: Option<ApiServices>,
    http: &HttpSettings,
    limits: &Limits,
    writes: TaskTracker,
) -> Routes {
    let gate = Arc::new(Gate {
        services: services.map(Arc::new),
        proxies: http.trusted_proxies.clone(),
        cors: Cors::new(http),
        hosts: HostCheck(http.allowed_hosts.clone()),
        admission: Admission::new(limits, writes),
    });
    let groups = groups
        .into_iter()
        .map(|(class, routes)| routes.layer(from_fn_with_state((gate.clone(), class), run)));
    Routes(groups.fold(Router::new(), Router::merge))
}

/// What the middleware of all groups shares.
struct Gate {
    services: Option<Arc<ApiServices>>,
    proxies: TrustedProxies,
    cors: Cors,
    hosts: HostCheck,
    admission: Admission,
}

/// The middleware of a group of routes.
async fn run(
    State((gate, class)): State<(Arc<Gate>, RouteClass)>,
    mut request: Request,
    next: Next,
) -> Response {
    let in_flight = telemetry::counts().then(|| InFlight::new(&request));
    let id = request_id::set(&mut request);
    hosts::prefer_request_line(&mut request);
    let answer = async |request| gate.answer(class, request, next).await;
    let mut response = trace::run(request, answer).await;
    response.headers_mut().insert(REQUEST_ID, id);
    if let Some(in_flight) = in_flight {
        in_flight.answered(response.status());
    }
    response
}

impl Gate {
    async fn answer(&self, class: RouteClass, mut request: Request, next: Next) -> Response {
        client::note(&self.proxies, &mut request);
        if let Some(services) = &self.services {
            request.extensions_mut().insert(services.clone());
        }
        let mut response = self.check(class, request, next).await;
        security_headers::add(&mut response);
        response
    }

    /// Answers preflights, refuses requests for other hosts, and runs the rest within the server's limits. A preflight concerns an
    /// origin, not a resource, so its host is not checked.
    async fn check(&self, class: RouteClass, request: Request, next: Next) -> Response {
        if let Some(answer) = self.cors.preflight(&request) {
            return self.cors.share(None, answer.await).await;
        }
        let origin = cors::origin_of(&request);
        let is_behind_tls = client::is_behind_tls(&request);
        let allowed = check_query(request.uri().query().unwrap_or_default());
        let response = match allowed.and_then(|()| self.hosts.check(&request, class)) {
            Ok(()) => self.admission.run(request, next, class).await,
            Err(refusal) => refusal.into_response(),
        };
        let mut response = self.cors.share(origin, response).await;
        if is_behind_tls {
            security_headers::add_hsts(&mut response);
        }
        response
    }
}
