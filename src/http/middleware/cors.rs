//! Which pages of other origins may read the API.
//!
//! tower-http's layer decides. It sees only requests with an `Origin`, so that others cost nothing. It answers each OPTIONS as
//! a preflight, so for other requests it sees a GET and the finished answer.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, Uri, header},
    response::Response,
};
use futures::{FutureExt, future::BoxFuture};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    config::HttpSettings,
    http::{IDEMPOTENT_REPLAYED, compression::add_vary, middleware::AFFORO_POSITION},
};

const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrftoken");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The rules for pages of other origins.
#[derive(Clone, Debug)]
pub(super) struct Cors(CorsLayer);

impl Cors {
    pub fn new(http: &HttpSettings) -> Self {
        let origins = if http.debug {
            AllowOrigin::predicate(|origin, _| is_on_this_machine(origin))
        } else {
            AllowOrigin::list(http.cors_allowed_origins.origins().iter().cloned())
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([
                Method::DELETE,
                Method::GET,
                Method::OPTIONS,
                Method::PATCH,
                Method::POST,
                Method::PUT,
            ])
            .allow_headers([
                header::ACCEPT,
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::USER_AGENT,
                X_CSRF_TOKEN,
                X_REQUESTED_WITH,
                IDEMPOTENCY_KEY,
                X_API_KEY,
                header::IF_MATCH,
                AFFORO_POSITION,
            ])
            .expose_headers([IDEMPOTENT_REPLAYED, header::ETAG, AFFORO_POSITION])
            .max_age(Duration::from_hours(24))
            // `share` adds `origin` to the `Vary` of each answer.
            .vary([]);
        Self(layer)
    }

    /// The answer to a preflight; `None` for any other request.
    pub fn preflight(&self, request: &Request) -> Option<BoxFuture<'static, Response>> {
        let is_preflight = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = origin_of(request).filter(|_| is_preflight)?;
        Some(self.ask(Method::OPTIONS, origin, Response::default()))
    }

    /// Adds to an answer whether the page of `origin` may read it.
    pub async fn share(&self, origin: Option<HeaderValue>, response: Response) -> Response {
        let mut response = match origin {
            Some(origin) => self.ask(Method::GET, origin, response).await,
            None => response,
        };
        add_vary(response.headers_mut(), "origin");
        response
    }

    /// Boxed, so that the futures of requests without `Origin` stay small.
    fn ask(&self, method: Method, origin: HeaderValue, response: Response) -> BoxFuture<'static, Response> {
        let mut asked = Request::new(Body::empty());
        *asked.method_mut() = method;
        asked.headers_mut().insert(header::ORIGIN, origin);
        let mut response = Some(response);
        let answered = service_fn(move |_: Request| {
            let response = response.take().unwrap_or_default();
            async { Ok::<_, Infallible>(response) }
        });
        let answered = self.0.layer(answered).oneshot(asked);
        async move {
            let Ok(response) = answered.await;
            response
        }
        .boxed()
    }
}

/// The origin of a page.
pub(super) fn origin_of(request: &Request) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN);
    origin.filter(|origin| !origin.is_empty()).cloned()
}

/// In development, a front end on this machine may read, on any port.
fn is_on_this_machine(origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    origin.is_some_and(|origin| {
        ["http", "https"].contains(&origin.scheme_str().unwrap_or_default())
            && ["localhost", "127.0.0.1", "[::1]"].contains(&origin.host().unwrap_or_default())
    })
}
