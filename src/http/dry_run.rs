//! Dry runs: with `?dry_run=true` a write answers what it would answer, and its transaction is rolled back.
//!
//! The whole command runs, so that constraints and locks decide as in a real request. The response has the status 200, the header
//! `Dry-Run: true`, and null as the id of each record that the request would create.

use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{ApiError, Json, Params, idempotency::IDEMPOTENCY_KEY};

const DRY_RUN: HeaderName = HeaderName::from_static("dry-run");

/// Whether a request is a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DryRun(pub bool);

impl DryRun {
    /// Reads the query string of a write. Another value than `true` or `false` is refused: it may be meant as a dry run.
    pub(super) fn read(query: Option<&str>) -> Result<Self, ApiError> {
        let Some(query) = query else {
            return Ok(Self(false));
        };
        match Params::parse(query).get("dry_run") {
            None => Ok(Self(false)),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Self(true)),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Self(false)),
            Some(_) => Err(ApiError::field("dry_run", "Must be true or false.")),
        }
    }

    /// The same for a query string that the middleware of the API has accepted, or will refuse.
    pub fn of(query: Option<&str>) -> Self {
        Self::read(query).unwrap_or_default()
    }
}

/// Marks a response to a POST whose records all exist.
#[derive(Clone, Copy, Debug)]
pub struct ExistingRecords;

/// Runs a dry run. Its commands roll back by themselves.
pub(super) async fn run(request: Request, next: Next) -> Response {
    if request.headers().contains_key(IDEMPOTENCY_KEY) {
        let refusal = "A dry run takes no Idempotency-Key: it stores no response.";
        return ApiError::detail(StatusCode::BAD_REQUEST, refusal).into_response();
    }
    let is_post = request.method() == Method::POST;
    let response = next.run(request).await;
    let status = response.status();
    let mut response = match status {
        StatusCode::CREATED => without_new_ids(response).await,
        StatusCode::OK if is_post && response.extensions().get::<ExistingRecords>().is_none() => {
            without_new_ids(response).await
        }
        _ => response,
    };
    if status.is_success() {
        response
            .headers_mut()
            .insert(DRY_RUN, HeaderValue::from_static("true"));
    }
    response
}

/// The statuses of results that are about a record which exists.
const EXISTING: [&str; 2] = ["updated", "unchanged"];

/// Sets the ids of new records to null: that of the object, those of the objects in its lists, and those of movements.
async fn without_new_ids(response: Response) -> Response {
    let bytes = to_bytes(response.into_body(), usize::MAX).await;
    let parsed = bytes
        .map_err(Into::into)
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(Into::into));
    match parsed {
        Ok(mut body) => {
            remove_ids(&mut body);
            Json(body).into_response()
        }
        Err(error) => ApiError::Internal(error).into_response(),
    }
}

fn remove_ids(body: &mut Value) {
    let Value::Object(members) = body else { return };
    let status = members.get("status").and_then(Value::as_str);
    if status.is_some_and(|status| EXISTING.contains(&status)) {
        return;
    }
    for (name, value) in members {
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(remove_ids),
            _ if name == "id" || name == "movement_id" => *value = Value::Null,
            _ => {}
        }
    }
}
