//! A handler that panics is an internal error.

use std::any::Any;

use axum::response::{IntoResponse, Response};

use crate::http::ApiError;

pub(super) fn answer(panic: Box<dyn Any + Send + 'static>) -> Response {
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
