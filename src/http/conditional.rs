//! Conditional requests: a read gets 304 if the client has the current representation, and a write applies only to the
//! representation that the client has read.

use std::convert::Infallible;

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::{FromRequestParts, Request},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    ApiError, Responses,
    compression::{self, accepts_gzip, add_vary},
};

/// How many tags of a list are read. The rest is ignored.
const MAX_TAGS: usize = 64;

/// A hash of the body, so the same on every server. Weak, because it is the same whether compressed or not.
pub(super) fn tag(body: &[u8]) -> HeaderValue {
    let mut tag = *b"W/\"00000000000000000000000000000000\"";
    Uuid::from_u128(xxh3_128(body))
        .simple()
        .encode_lower(&mut tag[3..35]);
    HeaderValue::from_bytes(&tag).expect("hexadecimal digits and quotes can stand in a header")
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
                .take(MAX_TAGS)
                .any(|one| opaque(one.trim_ascii()) == wanted)
    })
}

/// The conditions of a read: the representations that the client has, and whether it accepts gzip.
#[derive(Debug)]
pub(super) struct ConditionalRead {
    /// The tags of `If-None-Match`.
    pub known: Vec<HeaderValue>,
    pub gzip: bool,
    is_head: bool,
    responses: Option<Responses>,
}

impl ConditionalRead {
    /// `None` for a write: its answer is new, and no work is added to an order.
    pub fn of(request: &Request) -> Option<Self> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let headers = request.headers();
        reads.then(|| Self {
            known: headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
            gzip: accepts_gzip(headers),
            is_head: request.method() == Method::HEAD,
            responses: request.extensions().get::<Responses>().cloned(),
        })
    }

    /// Adds an `ETag` to a 200. Replaces it with a 304 or a gzipped response if the client asked for that.
    pub async fn apply(self, response: Response) -> Response {
        let is_whole = response.size_hint().exact().is_some();
        if response.status() != StatusCode::OK
            || !is_whole
            || response.headers().contains_key(header::CONTENT_ENCODING)
        {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let body = match to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(error) => return ApiError::Internal(error.into()).into_response(),
        };
        let headers = &mut parts.headers;
        let gzip = self.gzip && compression::pays(headers.get(header::CONTENT_TYPE), body.len());
        if gzip {
            // Without it, a cache may send the plain answer to any client, which can read it.
            add_vary(headers, "Accept-Encoding");
        }
        let tag = tag(&body);
        let is_known = is_listed(&tag, &self.known);
        headers.insert(header::ETAG, tag);
        if is_known {
            headers.remove(header::CONTENT_TYPE);
            parts.status = StatusCode::NOT_MODIFIED;
            return Response::from_parts(parts, Body::empty());
        }
        let response = Response::from_parts(parts, body.into());
        match self.responses {
            // The body of an answer to HEAD is not sent.
            Some(responses) if !self.is_head => responses.send(response, gzip).await,
            _ => response,
        }
    }
}

/// Removes the length from a 304. The router sets 0, the length of its body, but it would have to be that of the answer which
/// the client has.
pub(super) fn without_length(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// The condition of a write. A command checks it twice: before it reads the fields, because a client that must start again has
/// no use for their errors, and under the lock of the record.
pub trait Precondition: Sync {
    /// Whether this record may be written.
    fn permits(&self, current: &impl Serialize) -> bool;

    /// 412, unless the record may be written.
    fn require(&self, current: &impl Serialize) -> Result<(), ApiError> {
        if self.permits(current) {
            Ok(())
        } else {
            Err(ApiError::precondition_failed())
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
/// A write locks the record, reads it in a second statement, and then compares. The statement that waits for the lock sees
/// joined rows as of its start. So of two writers that name the same tag, one is refused.
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

/// `If-Match` and `If-None-Match` of a PUT that creates a record or changes it.
#[derive(Clone, Debug)]
pub struct PutConditions {
    if_match: IfMatch,
    if_none_match: Vec<HeaderValue>,
}

impl PutConditions {
    /// 412, unless this record may be changed or, without one, created.
    pub fn require<T: Serialize>(&self, current: Option<&T>) -> Result<(), ApiError> {
        let failed = |why| Err(ApiError::detail(StatusCode::PRECONDITION_FAILED, why));
        let Some(current) = current else {
            return if self.if_match.0.is_empty() {
                Ok(())
            } else {
                failed("There is no such record, and If-Match requires one.")
            };
        };
        self.if_match.require(current)?;
        let body = serde_json::to_vec(current).map_err(|error| ApiError::Internal(error.into()))?;
        if is_listed(&tag(&body), &self.if_none_match) {
            return failed("The record exists, and If-None-Match excludes it.");
        }
        Ok(())
    }
}

impl<S: Sync> FromRequestParts<S> for PutConditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let if_none_match = parts.headers.get_all(header::IF_NONE_MATCH);
        Ok(Self {
            if_none_match: if_none_match.iter().cloned().collect(),
            if_match: IfMatch::from_request_parts(parts, state).await?,
        })
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
