//! The HTTP server: the route table, and serving it.

mod docs;
mod drained;
pub mod examples;
mod health;
mod index;
mod open_files;
mod openapi;
mod ready;
mod serve;

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Extension, Router, http::Method};
use tokio_util::task::TaskTracker;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    auth::{Keyring, Secret, login::LoginService},
    category,
    config::{HttpSettings, RateLimit, RedisSettings},
    console::{self, Console},
    http::{self, ApiError, ApiKeyAuth, ApiServices, AppState, IdempotencyStore, Routes, WriteLimit},
    inventory,
    order::{self, GroupCommit},
    product,
    shutdown::Stop,
    stock_count, store, transfer,
    worker::{Queues, WorkerError},
};
use redis_rate_limit::{RateLimitConfig, RateLimitLayer};

use ready::Readiness;

pub use crate::http::{Limits, RouteClass};
pub use openapi::document;
pub use serve::run;

/// An application, ready to be served.
pub struct App {
    routes: Routes,
    limits: Limits,
    stop: Arc<Stop>,
    /// The tasks of writes.
    writes: TaskTracker,
}

impl App {
    /// Puts the middleware around groups of routes. API routes need `services`.
    pub fn new(
        groups: impl IntoIterator<Item = (RouteClass, Router)>,
        services: Option<ApiServices>,
        settings: &HttpSettings,
        limits: Limits,
        stop: Arc<Stop>,
    ) -> Self {
        let writes = TaskTracker::new();
        Self {
            routes: http::around(groups, services, settings, &limits, writes.clone()),
            limits,
            stop,
            writes,
        }
    }
}

/// Why the application cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The limiter cannot parse the Redis URL.
    #[error("REDIS_URL: {0}")]
    Redis(#[from] redis::RedisError),
    /// The queues cannot use Redis.
    #[error(transparent)]
    Queues(#[from] WorkerError),
}

/// How long a request waits for another one with the same idempotency key.
const KEY_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole application: all routes within the middleware. `configuration` has the settings that the console shows, by the
/// names of their variables, without secrets.
///
/// Must be called within a Tokio runtime.
pub fn app(
    state: AppState,
    http: &HttpSettings,
    redis: &RedisSettings,
    limits: Limits,
    configuration: Arc<[(String, String)]>,
) -> Result<App, AppError> {
    let client = redis::Client::open(redis.url())?;
    let limit = |name, RateLimit(requests): RateLimit| {
        let requests = requests.filter(|_| http.rate_limit_enabled)?;
        let config = RateLimitConfig {
            key_prefix: redis.redis_key_prefix.clone(),
            limit: requests.get(),
            timeout: limits.rate_limit,
            trusted_proxies: http.trusted_proxies.clone(),
            ..RateLimitConfig::new(name)
        };
        Some(RateLimitLayer::new(client.clone(), config))
    };
    let limits_of_products = product::RateLimits {
        autocomplete: limit("autocomplete", RateLimit(NonZeroU32::new(20))),
        search: limit("search", http.rates.search_rate_limit),
    };
    let limit_of_logins =
        limit("login", http.rates.login_rate_limit).unwrap_or_else(RateLimitLayer::disabled);
    let readiness = Readiness::new(&state, redis)?;
    let lanes = usize::try_from(state.database.placement.pool.options().get_max_connections()).unwrap_or(1);
    let placement = GroupCommit::start(&state.database.placement, order::Limits::with_lanes(lanes));
    let stop = state.stop.clone();
    let repeats = IdempotencyStore::new(state.database.pool.clone(), KEY_LOCK_TIMEOUT);
    let secret = Secret::new(http.secret_key.clone().unwrap_or_default());
    let keyring = Keyring::new(state.database.pool.clone(), &secret);
    let auth = ApiKeyAuth::new(http.api_auth(), keyring, || SystemTime::now().into());
    let services = ApiServices {
        auth,
        write_limit: http.rates.write_rate_limit.0.map(WriteLimit::new),
        idempotency: repeats.clone(),
        replicas: state.database.replicas.clone(),
    };
    let placing = Router::from(order::placement_router()).layer(Extension(placement.clone()));
    let api = Router::from(api(limits_of_products));
    let console = Console {
        app: state.clone(),
        placement,
        idempotency: repeats,
        queues: Queues::new(redis)?,
        secret,
        debug: http.debug,
        logins: Arc::new(LoginService::new(state.database.pool.clone())),
        configuration,
        started: SystemTime::now().into(),
    };
    let pooled = api
        .merge(console::router(console, limit_of_logins))
        .merge(docs::router(&document()))
        .merge(index::router())
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async |method: Method| ApiError::not_allowed(&method));
    let groups = [
        (RouteClass::Operators, Router::from(health(Some(readiness)))),
        (RouteClass::QueuedWrites, placing),
        (RouteClass::Pooled, pooled),
    ]
    .map(move |(class, routes)| (class, routes.with_state(state.clone())));
    Ok(App::new(groups, Some(services), http, limits, stop))
}

/// Liveness and readiness.
fn health(readiness: Option<Readiness>) -> OpenApiRouter<AppState> {
    let health =
        routes!(health::health).map(|methods| methods.options(health::health).fallback(health::refused));
    let ready = routes!(ready::ready).map(|methods| {
        let methods = methods.options(ready::ready).fallback(health::refused);
        methods.layer(Extension(readiness))
    });
    OpenApiRouter::new().routes(health).routes(ready)
}

/// All resources but the placement of orders.
fn api(limits: product::RateLimits) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(category::router())
        .merge(product::router(limits))
        .merge(store::router())
        .merge(inventory::router())
        .merge(transfer::router())
        .merge(stock_count::router())
        .merge(order::router())
}
