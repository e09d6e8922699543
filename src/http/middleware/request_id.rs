//! The id of a request, which its client may choose.

use axum::{extract::Request, http::HeaderValue};
use uuid::{Builder, Uuid};

use crate::http::REQUEST_ID;

/// The id of a request. A new one replaces an id that could not be logged or sent back.
pub(super) fn set(request: &mut Request) -> HeaderValue {
    let headers = request.headers_mut();
    if let Some(id) = headers.get(&REQUEST_ID).filter(|id| is_usable(id)) {
        return id.clone();
    }
    let id = random();
    headers.insert(REQUEST_ID, id.clone());
    id
}

fn is_usable(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// A random UUID. The generator of the thread makes it without a system call.
fn random() -> HeaderValue {
    let id = Builder::from_random_bytes(rand::random()).into_uuid();
    let mut text = Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).expect("digits and hyphens")
}
