//! The HTTP server: the route table, and running it.

mod connection;
mod connections;
mod cors;
mod health;
mod hosts;
mod limits;
mod measure;
mod middleware;
mod openapi;
mod ready;
mod serve;
mod span;
mod work;

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, http::Method};
use tokio_util::task::TaskTracker;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    category, inventory,
    order::{self, GroupCommit},
    product,
    rate_limit::RateLimitLayer,
    settings::{HttpSettings, RedisSettings},
    shutdown::Stop,
    store,
    web::{AppState, Problem, Repeats},
};

use ready::Readiness;
use work::Workshop;

pub use limits::Limits;
pub use openapi::document;
pub use serve::run;

/// An application, ready to be served.
pub struct App {
    router: Router,
    limits: Limits,
    stop: Arc<Stop>,
    /// Whatever may write runs in one of these tasks.
    writes: TaskTracker,
}

impl App {
    /// Puts the middleware around `routes`.
    #[must_use]
    pub fn new(routes: Router, http: &HttpSettings, limits: Limits, stop: Arc<Stop>) -> Self {
        let writes = TaskTracker::new();
        let workshop = Workshop::new(&limits, writes.clone());
        Self {
            router: middleware::around(routes, http, workshop),
            limits,
            stop,
            writes,
        }
    }
}

/// How long a request waits for another of the same idempotency key.
const WAIT_FOR_TWIN: Duration = Duration::from_secs(5);

/// The whole application: every route, within the middleware that all of them share.
///
/// Must be called within a Tokio runtime.
///
/// # Errors
/// When the Redis URL cannot be parsed.
pub fn app(
    state: AppState,
    http: &HttpSettings,
    redis: &RedisSettings,
    limits: Limits,
) -> redis::RedisResult<App> {
    let limit = RateLimitLayer::builder(redis::Client::open(redis.url())?)
        .name("autocomplete")
        .trusted_proxies(http.trusted_proxies.clone())
        .enabled(http.rate_limit_enabled)
        .build();
    let readiness = Readiness::new(&state, redis::Client::open(redis.url())?);
    let (api, document) = api(limit, Some(readiness)).split_for_parts();
    let lanes = usize::try_from(state.database.placement.options().get_max_connections()).unwrap_or(1);
    let placement = GroupCommit::start(&state.database.placement, order::Limits::with_lanes(lanes));
    let stop = state.stop.clone();
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
    Ok(App::new(routes, http, limits, stop))
}

/// Every resource, with its description; for the description alone, nothing need be known of readiness.
fn api(limit: RateLimitLayer, readiness: Option<Readiness>) -> OpenApiRouter<AppState> {
    let health =
        routes!(health::health).map(|methods| methods.options(health::health).fallback(health::refused));
    let ready = routes!(ready::ready).map(|methods| {
        let methods = methods.options(ready::ready).fallback(health::refused);
        methods.layer(Extension(readiness))
    });
    OpenApiRouter::with_openapi(openapi::base())
        .routes(health)
        .routes(ready)
        .merge(category::router())
        .merge(product::router(limit))
        .merge(store::router())
        .merge(inventory::router())
        .merge(order::router())
}

/// Says what is counted here.
pub fn describe() {
    measure::describe();
    serve::describe();
}
