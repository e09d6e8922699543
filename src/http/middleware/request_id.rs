//! The id of a request, which its client may choose.

use axum::extract::Request;

use crate::http::REQUEST_ID;

/// Removes an id that could not be logged or sent back: the next layer makes another.
pub(super) fn drop_unusable(mut request: Request) -> Request {
    let id = request.headers().get(&REQUEST_ID);
    let is_unusable = id
        .is_some_and(|id| !(1..=128).contains(&id.len()) || !id.as_bytes().iter().all(u8::is_ascii_graphic));
    if is_unusable {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}
