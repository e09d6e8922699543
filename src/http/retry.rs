//! Requests that are run once more, on another connection to the database: the first was of no use, and nothing was done.
//!
//! After a migration a connection refuses statements that it prepared before, and after a failover it may lead to a server
//! that takes no writes. Each request is one transaction, and a refusal rolls it back.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request},
    middleware::Next,
    response::Response,
};

use super::Body;
use crate::db;

/// Marks an answer that was made because a connection was of no use.
#[derive(Clone, Copy, Debug)]
struct UnfitConnection;

/// Has connections replaced if `error` says that one is of no use, and marks the answer that is made of the error.
pub fn note_error(error: &sqlx::Error, response: &mut Response) {
    db::note(error);
    if db::is_unfit(error) {
        response.extensions_mut().insert(UnfitConnection);
    }
}

/// Whether another connection may do better.
pub(super) fn is_worthwhile(response: &Response) -> bool {
    response.extensions().get::<UnfitConnection>().is_some()
}

/// Runs a request that reads; once more where that is worthwhile. One that may write is run once.
pub async fn retry_read(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        run(request, next, async |request, next| next.run(request).await).await
    } else {
        next.run(request).await
    }
}

/// Receives the body of a request, so that it can be run once more.
pub(super) async fn receive_body(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let body = match Body::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(body) => Arc::new(body),
        Err(never) => match never {},
    };
    parts.extensions.insert(body);
    Request::from_parts(parts, axum::body::Body::empty())
}

/// Runs a request without a body, or whose body was received; once more where that is worthwhile.
pub(super) async fn run(
    request: Request,
    next: Next,
    once: impl AsyncFn(Request, Next) -> Response,
) -> Response {
    let (parts, body) = request.into_parts();
    let spare = (parts.clone(), next.clone());
    let response = once(Request::from_parts(parts, body), next).await;
    if !is_worthwhile(&response) {
        return response;
    }
    let (parts, next) = spare;
    once(Request::from_parts(parts, axum::body::Body::empty()), next).await
}
