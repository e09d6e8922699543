//! Paths without their last slash.

use axum::{
    extract::Request,
    http::{Uri, uri::PathAndQuery},
};

/// Adds the slash with which paths of resources end. Files, which have a dot in their name, have none.
pub(super) fn complete(mut request: Request) -> Request {
    let path = request.uri().path();
    let is_file = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if path.ends_with('/') || is_file {
        return request;
    }
    let completed = match request.uri().query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    if let Ok(completed) = PathAndQuery::try_from(completed) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(completed);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}
