//! Conditional requests: the tag of a representation, and writes that are done only to the one that the client has seen.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::ApiError;

/// How many tags of a list are read. What stands behind them is ignored.
const MOST_TAGS: usize = 64;

/// A hash of the body, so the same on every server. Weak, because it is the same whether compressed or not.
pub(super) fn tag(body: &[u8]) -> HeaderValue {
    let tag = format!("W/\"{:032x}\"", xxh3_128(body));
    HeaderValue::from_str(&tag).expect("hexadecimal digits and quotes can stand in a header")
}

/// Whether a tag is among those of `If-Match` or `If-None-Match`: `*` is any, and W/ makes no difference.
pub(super) fn is_listed(tag: &HeaderValue, lists: &[HeaderValue]) -> bool {
    fn opaque(tag: &[u8]) -> &[u8] {
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
    let wanted = opaque(tag.as_bytes());
    lists.iter().any(|list| {
        let list = list.as_bytes();
        // Tags may hold commas, but ours do not, and no part of another looks like one.
        list == b"*"
            || list
                .split(|byte| *byte == b',')
                .take(MOST_TAGS)
                .any(|one| opaque(one.trim_ascii()) == wanted)
    })
}

/// What a record has to be for a write to go ahead. A command checks it twice: before it reads the fields, as their errors are
/// of no use to a client that has to start again, and under the lock of the record.
pub trait Precondition: Sync {
    /// Whether the record may be written that looks like this now.
    fn permits(&self, current: &impl Serialize) -> bool;

    /// 412, unless the record may be written.
    fn require(&self, current: &impl Serialize) -> Result<(), ApiError> {
        if self.permits(current) {
            Ok(())
        } else {
            Err(ApiError::detail(
                StatusCode::PRECONDITION_FAILED,
                "This was changed since it was read: If-Match names another ETag. Read it again.",
            ))
        }
    }
}

/// Any record may be written.
#[derive(Clone, Copy, Debug)]
pub struct Unconditional;

impl Precondition for Unconditional {
    fn permits(&self, _: &impl Serialize) -> bool {
        true
    }
}

/// `If-Match`: which representation a write is meant for. Without it, any.
///
/// A write compares after it has locked the record and read it in a statement of its own: the statement that waits for a
/// lock sees the locked row as it is now, and what it joins as it was when the statement began. So of two writers that
/// name the same tag, one is refused.
#[derive(Clone, Debug)]
pub struct IfMatch(Vec<HeaderValue>);

impl Precondition for IfMatch {
    fn permits(&self, current: &impl Serialize) -> bool {
        self.0.is_empty() || serde_json::to_vec(current).is_ok_and(|body| is_listed(&tag(&body), &self.0))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(
            parts.headers.get_all(header::IF_MATCH).iter().cloned().collect(),
        ))
    }
}

/// A record that was written, answered with the `ETag` that a GET of it has.
#[derive(Debug)]
pub struct Tagged<T>(pub T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                let headers = [(header::CONTENT_TYPE, json), (header::ETAG, tag(&body))];
                (headers, body).into_response()
            }
            Err(error) => ApiError::Internal(error.into()).into_response(),
        }
    }
}
