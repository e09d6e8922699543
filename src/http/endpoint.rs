//! The manners that all endpoints of the API share.

use axum::{
    extract::{RawPathParams, Request, rejection::RawPathParamsRejection},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{
    ApiError, ApiKeyAuth, AppState, Caller, IdempotencyStore, WriteLimit, describe, idempotency, retry,
    transfer::Terms,
};
use crate::auth::Area;

/// How many entries of `Accept` are read; browsers send about ten.
const MOST_RANGES: usize = 64;

/// Gives the methods of a route what all endpoints share, checked in this order: an id that is no number is no path
/// (404), an answer that the client would not accept is not made (406), who may not do what is asked is told so (401, 403, 429),
/// OPTIONS says what is allowed, and so does the refusal of any other method (405); a POST may come with an `Idempotency-Key`.
/// `allow` lists the methods, `area` tells the scopes that they need. What is read has an `ETag`, and may be compressed. The
/// document is told what that means for clients.
pub fn endpoint(
    (mut schemas, mut paths, methods): UtoipaMethodRouter<AppState>,
    allow: &'static str,
    area: Area,
) -> UtoipaMethodRouter<AppState> {
    let methods = methods
        .options(|| async { StatusCode::OK })
        .fallback(async |method: Method| ApiError::not_allowed(&method))
        .layer(middleware::from_fn(move |params, request, next| {
            manners(allow, area, params, request, next)
        }));
    describe::complete(&mut paths, &mut schemas, area);
    (schemas, paths, methods)
}

async fn manners(
    allow: &'static str,
    area: Area,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    // What is no text is no number either.
    let is_path = params.is_ok_and(|params| {
        let mut ids = params.iter().filter(|(name, _)| *name == "id");
        ids.all(|(_, id)| id.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if !is_path {
        return ApiError::not_found().into_response();
    }
    let terms = Terms::of(&request);
    let is_write = !request.method().is_safe();
    let admitted = if accepts_json(&request) {
        admit(&mut request, area).await
    } else {
        let refusal = "Could not satisfy the request Accept header.";
        Err(ApiError::detail(StatusCode::NOT_ACCEPTABLE, refusal).into_response())
    };
    let is_personal = request.extensions().get::<Caller>().is_some();
    let admitted = match admitted {
        Ok(()) if is_write => WriteLimit::refusal(&request).map_or(Ok(()), Err),
        admitted => admitted,
    };
    let mut response = match admitted {
        Err(refusal) => refusal,
        // The lanes of the placement look after their connections themselves.
        Ok(()) if area == Area::Orders && is_write => run(request, next).await,
        Ok(()) => {
            if is_write && allow.split(", ").any(|method| method == request.method()) {
                request = retry::receive_body(request).await;
            }
            retry::run(request, next, run).await
        }
    };
    let headers = response.headers_mut();
    if is_personal {
        // What one caller may see is for no other.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, origin, Cookie"));
    match terms {
        Some(terms) => terms.apply(response).await,
        None => response,
    }
}

async fn admit(request: &mut Request, area: Area) -> Result<(), Response> {
    match ApiKeyAuth::admit(request, area).await {
        Err(refusal) if retry::is_worthwhile(&refusal) => ApiKeyAuth::admit(request, area).await,
        admitted => admitted,
    }
}

async fn run(request: Request, next: Next) -> Response {
    if request.method() == Method::POST {
        post(request, next).await
    } else {
        next.run(request).await
    }
}

/// A POST may be repeated under a key.
async fn post(request: Request, next: Next) -> Response {
    match idempotency::key(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => match request.extensions().get::<IdempotencyStore>().cloned() {
            Some(repeats) => repeats.handle(own(key, &request), request, next).await,
            None => ApiError::Internal("nothing keeps answers".into()).into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// A key is its sender's own: under the same one, another's request is another request. A client's key has no space.
fn own(key: String, request: &Request) -> String {
    let caller = request.extensions().get::<Caller>();
    match caller.and_then(|caller| caller.grant.actor.label()) {
        Some(sender) => format!("{sender} {key}"),
        None => key,
    }
}

/// Whether the client takes JSON, or HTML: browsers ask for HTML first, and get JSON like everyone.
fn accepts_json(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .take(MOST_RANGES)
            .any(|range| {
                let essence = range.split(';').next().unwrap_or_default().trim();
                ["*/*", "application/*", "application/json", "text/*", "text/html"]
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(essence))
            })
}
