//! Responses in JSON.

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::ApiError;

/// The initial capacity of a body: most records fit, so that the buffer does not grow while it is written.
const USUAL_LENGTH: usize = 1024;
/// The number of headers that the middleware adds at most.
const USUAL_HEADERS: usize = 12;

/// A response in JSON. Reserves memory for its body and headers at once.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(USUAL_LENGTH);
        if let Err(error) = serde_json::to_writer(&mut body, &self.0) {
            return ApiError::Internal(error.into()).into_response();
        }
        let mut response = Response::new(body.into());
        let mut headers = HeaderMap::with_capacity(USUAL_HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.headers_mut() = headers;
        response
    }
}
