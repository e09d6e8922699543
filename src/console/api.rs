//! The API, called in this process on behalf of an operator: what is written, and by which rules, is said there alone.

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::operator::Operator;

/// The routes of the API.
#[derive(Clone)]
pub struct Api(Router);

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its JSON; null where there is none.
    pub body: Value,
}

impl Api {
    /// Calls these routes.
    #[must_use]
    pub fn new(routes: Router) -> Self {
        Self(routes)
    }

    /// Sends a request with what `operator` is granted. A POST under a key is done once, however often it is sent.
    pub async fn send(
        &self,
        operator: &Operator,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Body::from(text));
        *request.method_mut() = method;
        let Ok(uri) = path.parse() else {
            return Answer::none(StatusCode::NOT_FOUND);
        };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        request.extensions_mut().insert(operator.caller.clone());
        let response = match self.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes);
        Answer {
            status: parts.status,
            body: bytes
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or(Value::Null),
        }
    }
}

impl Answer {
    fn none(status: StatusCode) -> Self {
        Self {
            status,
            body: Value::Null,
        }
    }

    /// The id of what was created, if it was.
    #[must_use]
    pub fn created(&self) -> Option<i64> {
        self.body["id"].as_i64().filter(|_| self.status.is_success())
    }

    /// What is wrong with a field of the form that was sent; blank where nothing is.
    #[must_use]
    pub fn error_of(&self, field: &str) -> String {
        match &self.body[field] {
            Value::Array(messages) => {
                let texts = messages.iter().filter_map(Value::as_str);
                texts.collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        }
    }

    /// Why the request as a whole was refused; blank where only fields were.
    #[must_use]
    pub fn reason(&self) -> String {
        let of_body = ["detail", "error"].map(|name| self.body[name].as_str().unwrap_or_default());
        let reason = of_body.into_iter().find(|reason| !reason.is_empty());
        reason.map_or_else(|| self.error_of("non_field_errors"), str::to_owned)
    }
}
