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

/// `If-Match`: which representation a write is meant for. Without it, any.
///
/// A write compares after it has locked the record and read it in a statement of its own: the statement that waits for a
/// lock sees the locked row as it is now, and what it joins as it was when the statement began. So of two writers that
/// name the same tag, one is refused.
#[derive(Clone, Debug)]
pub struct IfMatch(Vec<HeaderValue>);

impl IfMatch {
    /// Whether the record may be written that looks like this now.
    pub fn permits(&self, current: &impl Serialize) -> bool {
        self.0.is_empty() || serde_json::to_vec(current).is_ok_and(|body| is_listed(&tag(&body), &self.0))
    }

    /// Refuses a write before its body is looked at: what is wrong with a body is of no use to a client that has to start
    /// again from another representation.
    pub fn require(&self, current: &impl Serialize) -> Result<(), ApiError> {
        if self.permits(current) {
            Ok(())
        } else {
            Err(precondition_failed())
        }
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

/// 412: the record is not, or not any more, what `If-Match` names.
pub(super) fn precondition_failed() -> ApiError {
    ApiError::detail(
        StatusCode::PRECONDITION_FAILED,
        "This was changed since it was read: If-Match names another ETag. Read it again.",
    )
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update<T> {
    /// It was made: this is the record now.
    Done(T),
    /// There was nothing to change.
    NotFound,
    /// The record is not what [`IfMatch`] permits: nothing was changed.
    PreconditionFailed,
    /// Other records are in its way, as is said here: nothing was changed.
    Refused(&'static str),
}

impl<T> Update<T> {
    /// Answers the change: the record with its tag, 404, 412, or 409 with the reason.
    pub fn answer(self, no_such: ApiError) -> Result<Tagged<T>, ApiError> {
        match self {
            Self::Done(record) => Ok(Tagged(record)),
            Self::NotFound => Err(no_such),
            Self::PreconditionFailed => Err(precondition_failed()),
            Self::Refused(why_not) => Err(ApiError::detail(StatusCode::CONFLICT, why_not)),
        }
    }
}

/// A record that was written, answered with the `ETag` that a GET of it has.
#[derive(Debug)]
pub struct Tagged<T>(T);

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
