//! Which pages of other origins may read the API.
//!
//! Not tower-http's layer, because its preflight answers differ from those that clients know: every preflight is
//! answered with 200, the methods and headers are listed with a space, and any OPTIONS carries them. `Idempotency-Key` and
//! `X-API-Key` are listed where they are asked for. No header is exposed to scripts but that an answer was given before: a browser's cache sends
//! `If-None-Match` and understands 304 without their help.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{Html, IntoResponse, Response},
};

use crate::{settings::HttpSettings, web::IDEMPOTENT_REPLAYED};

const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, OPTIONS, PATCH, POST, PUT");
const HEADERS: &str = "accept, authorization, content-type, user-agent, x-csrftoken, x-requested-with";
/// What is listed beside them for a page that asks for it.
const MORE_HEADERS: [&str; 2] = ["idempotency-key", "x-api-key"];
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
    pub fn share(&self, asked: &Asked, mut response: Response) -> Response {
        let headers = response.headers_mut();
        vary_by_origin(headers);
        if let Some(allowed) = asked.origin.as_ref().and_then(|origin| self.allow(origin)) {
            add(headers, allowed, asked);
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
    /// Of the headers that are not listed for everyone.
    more_headers: Vec<&'static str>,
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
            more_headers: if is_options {
                asked_for(headers)
            } else {
                Vec::new()
            },
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

/// Which of the headers that are not listed for everyone a page wants to send.
fn asked_for(headers: &HeaderMap) -> Vec<&'static str> {
    let asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let asked: Vec<&str> = asked
        .filter_map(|asked| asked.to_str().ok())
        .flat_map(|asked| asked.split(','))
        .map(str::trim)
        .collect();
    let is_asked_for = |name: &&str| asked.iter().any(|asked| asked.eq_ignore_ascii_case(name));
    MORE_HEADERS.into_iter().filter(is_asked_for).collect()
}

fn add(headers: &mut HeaderMap, allowed: HeaderValue, asked: &Asked) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if headers.contains_key(IDEMPOTENT_REPLAYED) {
        let exposed = HeaderValue::from_name(IDEMPOTENT_REPLAYED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    if asked.is_options {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        let may_be_sent = asked
            .more_headers
            .iter()
            .fold(HEADERS.to_owned(), |all, one| all + ", " + one);
        let may_be_sent = HeaderValue::from_str(&may_be_sent).expect("names of headers");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, may_be_sent);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}
