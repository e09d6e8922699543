//! The HTTP server: the route table, and running it.

mod cors;
mod health;
mod hosts;
mod measure;
mod middleware;
mod openapi;
mod span;

use std::{io, net::SocketAddr, time::Duration};

use axum::{Extension, Router, http::Method, serve::ListenerExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    category, inventory,
    order::{self, GroupCommit, Limits},
    product,
    rate_limit::RateLimitLayer,
    settings::{HttpSettings, RedisSettings},
    store,
    web::{AppState, Problem, Repeats},
};

pub use measure::describe as describe_requests;
pub use openapi::document;

/// How long requests that are under way may take to finish once the server stops.
const DRAIN: Duration = Duration::from_secs(20);

/// How long a request waits for another of the same idempotency key.
const WAIT_FOR_TWIN: Duration = Duration::from_secs(5);

/// The whole application: every route, within the middleware that all of them share.
///
/// Must be called within a Tokio runtime.
///
/// # Errors
/// When the Redis URL cannot be parsed.
pub fn app(state: AppState, http: &HttpSettings, redis: &RedisSettings) -> redis::RedisResult<Router> {
    let limit = RateLimitLayer::builder(redis::Client::open(redis.url())?)
        .name("autocomplete")
        .trusted_proxies(http.trusted_proxies.clone())
        .enabled(http.rate_limit_enabled)
        .build();
    let (api, document) = api(limit).split_for_parts();
    let lanes = usize::try_from(state.database.placement.options().get_max_connections()).unwrap_or(1);
    let placement = GroupCommit::start(&state.database.placement, Limits::with_lanes(lanes));
    let routes = api
        .layer(Extension(placement))
        .layer(Extension(Repeats::new(
            state.database.pool.clone(),
            WAIT_FOR_TWIN,
        )))
        .merge(openapi::pages(document))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async |method: Method| Problem::not_allowed(&method))
        .with_state(state);
    Ok(middleware::around(routes, http))
}

/// Every resource, with its description.
fn api(limit: RateLimitLayer) -> OpenApiRouter<AppState> {
    let health =
        routes!(health::health).map(|methods| methods.options(health::health).fallback(health::refused));
    OpenApiRouter::with_openapi(openapi::base())
        .routes(health)
        .merge(category::router())
        .merge(product::router(limit))
        .merge(store::router())
        .merge(inventory::router())
        .merge(order::router())
}

/// Serves until `shutdown`; then takes no more connections, and lets the requests under way finish.
pub async fn run(listener: TcpListener, app: Router, shutdown: CancellationToken) -> io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // Without it, the last part of an answer may wait for the client to acknowledge the part before.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
    });
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        served = serving => served,
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("some requests did not finish within {} s", DRAIN.as_secs());
            Ok(())
        }
    }
}
