//! Which pages of other origins may read the API.
//!
//! Not tower-http's layer, because its preflight answers differ from those that clients know: every preflight is
//! answered with 200, the methods and headers are listed with a space, and any OPTIONS carries them. No header is exposed
//! to scripts: a browser's cache sends `If-None-Match` and understands 304 without their help.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{Html, IntoResponse, Response},
};

use crate::settings::HttpSettings;

const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, OPTIONS, PATCH, POST, PUT");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, content-type, user-agent, x-csrftoken, x-requested-with",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The origins whose pages may read answers.
#[derive(Clone, Debug)]
pub(super) enum AllowedOrigins {
    /// All of them.
    Any,
    /// These.
    Only(Arc<[String]>),
}

impl AllowedOrigins {
    pub fn new(http: &HttpSettings) -> Self {
        if http.debug {
            return Self::Any;
        }
        Self::Only(
            http.cors_allowed_origins
                .iter()
                .map(|origin| origin.trim().to_owned())
                .collect(),
        )
    }

    /// Tells in the answer who may read it.
    pub fn share(&self, asked: Asked, mut response: Response) -> Response {
        let headers = response.headers_mut();
        vary_by_origin(headers);
        if let Some(allowed) = asked.origin.and_then(|origin| self.allow(&origin)) {
            add(headers, allowed, asked.is_options);
        }
        response
    }

    /// What to tell a page of `origin`, if it may read.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(ANY),
            Self::Only(origins) => origins
                .iter()
                .any(|allowed| allowed.as_bytes() == origin.as_bytes())
                .then(|| origin.clone()),
        }
    }
}

/// What a request says that matters here.
pub(super) struct Asked {
    origin: Option<HeaderValue>,
    is_options: bool,
    is_preflight: bool,
}

impl Asked {
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        let is_options = request.method() == Method::OPTIONS;
        Self {
            origin: headers
                .get(header::ORIGIN)
                .filter(|origin| !origin.is_empty())
                .cloned(),
            is_options,
            is_preflight: is_options && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
        }
    }

    /// Whether a browser asks what it may send, before it sends it.
    pub fn is_preflight(&self) -> bool {
        self.is_preflight
    }
}

/// The answer to a preflight. The type of a body that is empty says nothing; clients get the one that they always got.
pub(super) fn preflight() -> Response {
    Html(()).into_response()
}

fn vary_by_origin(headers: &mut HeaderMap) {
    let vary = headers.get(header::VARY).and_then(|vary| vary.to_str().ok());
    let vary = match vary {
        Some(vary) if vary.split(", ").any(|name| name == "origin") => return,
        Some(vary) => HeaderValue::from_str(&format!("origin, {vary}"))
            .expect("what stood in a header still can with a name more"),
        None => HeaderValue::from_static("origin"),
    };
    headers.insert(header::VARY, vary);
}

fn add(headers: &mut HeaderMap, allowed: HeaderValue, is_options: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if is_options {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}
