//! A handler that panics is an internal error.

use std::{any::Any, panic::AssertUnwindSafe};

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use crate::http::ApiError;

/// Runs a request. A panic becomes a response.
pub(super) async fn run(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    answered.await.unwrap_or_else(answer)
}

fn answer(panic: Box<dyn Any + Send>) -> Response {
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or_default()
            .to_owned(),
    };
    ApiError::Internal(format!("a handler panicked: {text}").into()).into_response()
}
