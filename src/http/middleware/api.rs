//! The middleware of API routes.

use std::sync::Arc;

use axum::{
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use utoipa::openapi::path::Paths;
use utoipa_axum::router::UtoipaMethodRouter;

use super::{auth::ApiKeyAuth, read_routing, retry, services::ApiServices};
use crate::{
    audit::Actor,
    auth::Area,
    http::{
        ApiError, AppState, Caller, DryRun, Permit, Work, conditional::ConditionalRead, dry_run,
        idempotency as key_header, openapi, unfit_connection::is_unfit,
    },
    idempotency,
};

/// How many entries of `Accept` are read; browsers send about ten.
const MAX_RANGES: usize = 64;

/// A route of the API.
struct ApiRoute {
    area: Area,
    methods: Vec<Method>,
    /// The methods, HEAD and OPTIONS included, for the `Allow` header.
    allow: HeaderValue,
}

/// Adds the checks of all API routes, in this order: 404 for an id that is not a number, 406 if the client does not accept
/// JSON, 401, 403 or 429 without the scopes of `area`, 405 for another method. A POST may have an `Idempotency-Key`. Reads get
/// an `ETag` and may be compressed. The OpenAPI document describes all of it.
pub fn api_route(
    (mut schemas, mut paths, methods): UtoipaMethodRouter<AppState>,
    area: Area,
) -> UtoipaMethodRouter<AppState> {
    let route = Arc::new(ApiRoute::new(&mut paths, area));
    let methods = methods
        .options(|| async { StatusCode::OK })
        .fallback(async |method: Method| ApiError::not_allowed(&method))
        .layer(from_fn_with_state(route, api_middleware));
    openapi::complete(&mut paths, &mut schemas, area);
    (schemas, paths, methods)
}

impl ApiRoute {
    fn new(paths: &mut Paths, area: Area) -> Self {
        let methods: Vec<_> = openapi::operations(paths).map(|(method, _)| method).collect();
        let is_read = methods.contains(&Method::GET).then_some("HEAD");
        let allow: Vec<_> = methods
            .iter()
            .map(Method::as_str)
            .chain(is_read)
            .chain(["OPTIONS"])
            .collect();
        Self {
            area,
            allow: HeaderValue::from_str(&allow.join(", ")).expect("methods are tokens"),
            methods,
        }
    }
}

async fn api_middleware(
    State(route): State<Arc<ApiRoute>>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    // A parameter that is not UTF-8 is not a number either.
    let is_path = params.is_ok_and(|params| {
        let mut ids = params.iter().filter(|(name, _)| *name == "id");
        ids.all(|(_, id)| id.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if !is_path {
        return ApiError::not_found().into_response();
    }
    let Some(services) = services(&request) else {
        return no_services();
    };
    let conditional = ConditionalRead::of(&request);
    let admitted = admit(&services, &mut request, route.area).await;
    let is_personal = request.extensions().get::<Caller>().is_some();
    let mut response = match admitted {
        Ok(()) => answer(&route, request, next).await,
        Err(refusal) => refusal,
    };
    let headers = response.headers_mut();
    if is_personal {
        // Other callers may see something else.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    headers.insert(header::ALLOW, route.allow.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept, origin, Cookie"));
    match conditional {
        Some(conditional) => conditional.apply(response).await,
        None => response,
    }
}

fn services(request: &Request) -> Option<Arc<ApiServices>> {
    request.extensions().get().cloned()
}

fn no_services() -> Response {
    ApiError::Internal("the server has no services for API routes".into()).into_response()
}

async fn admit(services: &ApiServices, request: &mut Request, area: Area) -> Result<(), Response> {
    if !accepts_json(request) {
        let refusal = "Could not satisfy the request Accept header.";
        return Err(ApiError::detail(StatusCode::NOT_ACCEPTABLE, refusal).into_response());
    }
    let auth = services.auth.as_ref();
    match ApiKeyAuth::admit(auth, request, area).await {
        Err(refusal) if is_unfit(&refusal) => ApiKeyAuth::admit(auth, request, area).await,
        admitted => admitted,
    }?;
    match &services.write_limit {
        Some(limit) if !request.method().is_safe() => limit.refusal(request).map_or(Ok(()), Err),
        _ => Ok(()),
    }
}

/// Runs a request, and repeats it if its connection to the database was unfit.
async fn answer(route: &ApiRoute, mut request: Request, next: Next) -> Response {
    // The owner of a queue replaces its connections itself.
    if request.extensions().get().map(Permit::work) == Some(Work::Queued) {
        return run(request, next).await;
    }
    if !request.method().is_safe() && route.methods.contains(request.method()) {
        request = Box::pin(retry::receive_body(request)).await;
    }
    retry::run(request, next, run).await
}

fn run(request: Request, next: Next) -> impl Future<Output = Response> {
    let replicas = services(&request).and_then(|services| services.replicas.clone());
    read_routing::run(replicas, request, next, async |request, next| {
        if request.method().is_safe() {
            return next.run(request).await;
        }
        match DryRun::read(request.uri().query()) {
            // Boxed, so that the futures of other requests stay small.
            Ok(DryRun(true)) => Box::pin(dry_run::run(request, next)).await,
            Ok(_) if request.method() == Method::POST => post(request, next).await,
            Ok(_) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    })
}

/// Runs a POST, which may be repeated under a key.
async fn post(request: Request, next: Next) -> Response {
    let key = match key_header::key(request.headers()) {
        Ok(Some(key)) => scoped_key(key, &request),
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    match services(&request) {
        // Boxed, so that the futures of other requests stay small.
        Some(services) => Box::pin(services.idempotency.handle(key, request, next)).await,
        None => no_services(),
    }
}

fn scoped_key(key: String, request: &Request) -> String {
    let caller = request.extensions().get::<Caller>();
    let actor = caller.map_or(&Actor::Anyone, |caller| &caller.grant.actor);
    idempotency::scoped_key(actor, key)
}

/// Whether the client accepts JSON, or HTML: browsers ask for HTML first, and get JSON.
fn accepts_json(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .take(MAX_RANGES)
            .any(|range| {
                let essence = range.split(';').next().unwrap_or_default().trim();
                ["*/*", "application/*", "application/json", "text/*", "text/html"]
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(essence))
            })
}
