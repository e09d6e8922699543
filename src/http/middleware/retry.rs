//! Runs a request once more on another connection to the database, if the first connection was unfit.
//!
//! After a migration, a connection rejects statements that it prepared before. After a failover, its server may reject writes.
//! Each request is one transaction, which the rejection rolls back. A failover to another host also ends reads that wait for
//! the host before.

use std::{pin::pin, sync::Arc};

use axum::{
    extract::{FromRequest, Request},
    middleware::Next,
    response::Response,
};

use crate::{
    db,
    http::{Body, unfit_connection::is_unfit},
};

/// Marks the second run of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated;

/// Runs a read, once more if that is worthwhile; a write once.
pub async fn retry_read(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        run(request, next, async |request, next| next.run(request).await).await
    } else {
        next.run(request).await
    }
}

/// Receives the body of a request, so that the request can run twice.
pub(in crate::http) async fn receive_body(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let body = match Body::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(body) => Arc::new(body),
        Err(never) => match never {},
    };
    parts.extensions.insert(body);
    Request::from_parts(parts, axum::body::Body::empty())
}

/// Runs a request without a body, or whose body was received; once more if that is worthwhile.
pub(super) async fn run(
    request: Request,
    next: Next,
    once: impl AsyncFn(Request, Next) -> Response,
) -> Response {
    let (parts, body) = request.into_parts();
    let again = (parts.clone(), next.clone());
    let is_read = parts.method.is_safe();
    // Pinned here, so that the large future is not moved.
    let response = pin!(once(Request::from_parts(parts, body), next));
    let response = if is_read {
        db::until_switched(response).await
    } else {
        Some(response.await)
    };
    match response {
        Some(response) if !is_unfit(&response) => return response,
        _ => {}
    }
    let (mut parts, next) = again;
    parts.extensions.insert(Repeated);
    Box::pin(once(Request::from_parts(parts, axum::body::Body::empty()), next)).await
}
