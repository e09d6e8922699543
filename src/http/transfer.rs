//! No more over the wire than needed: 304 for what the client has already, gzip for what it takes.
//!
//! tower-http compresses, but which answers is decided here: its layer turns an answer into a 406 where no coding suits the
//! client, and adds `Accept-Encoding` to the `Vary` of answers that it leaves alone.

use std::io;

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    ApiError, Responses,
    conditional::{is_listed, tag},
};

/// From what size on, in bytes, compression pays: a smaller answer fits into one packet as it is.
pub(super) const SMALLEST: usize = 1024;
/// How many codings of `Accept-Encoding` are read. What stands behind them is ignored.
const MOST_CODINGS: usize = 64;

/// What a client that only reads says of the answer that it could do with.
#[derive(Debug)]
pub(super) struct Terms {
    /// The tags of the answers that it has.
    pub known: Vec<HeaderValue>,
    pub gzip: bool,
    is_head: bool,
    responses: Option<Responses>,
}

/// Takes the length from a 304: the routers say 0, that of its body, while it would have to be that of the answer which
/// the client has. Must stand right below the outermost router, which has the last word.
#[must_use]
pub fn without_length(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        // One whose length is not known beforehand, or the router counts again.
        *response.body_mut() = Body::from_stream(futures::stream::empty::<io::Result<Bytes>>());
    }
    response
}

impl Terms {
    /// `None` for what may write: its answer is news, and nothing is to stand in the way of an order.
    pub fn of(request: &Request) -> Option<Self> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let headers = request.headers();
        reads.then(|| Self {
            known: headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
            gzip: takes_gzip(headers),
            is_head: request.method() == Method::HEAD,
            responses: request.extensions().get::<Responses>().cloned(),
        })
    }

    /// Gives a 200 its `ETag`, and sends it shorter or not at all where that is agreed.
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
        let media_type = headers.get(header::CONTENT_TYPE);
        let gzip = self.gzip && body.len() >= SMALLEST && media_type.is_some_and(is_text);
        if gzip {
            // An answer that is sent as it is would have to name Accept-Encoding too, for caches to keep both kinds
            // apart. Clients know its Vary without, and no harm comes of it: what is sent as it is, anyone can read;
            // what is not is kept from those who did not ask for it.
            vary_by_encoding(headers);
        }
        let tag = tag(&body);
        let has_it = is_listed(&tag, &self.known);
        headers.insert(header::ETAG, tag);
        if has_it {
            headers.remove(header::CONTENT_TYPE);
            parts.status = StatusCode::NOT_MODIFIED;
            return Response::from_parts(parts, Body::empty());
        }
        let response = Response::from_parts(parts, body.into());
        match self.responses {
            // The answer to HEAD is not sent: it is neither counted nor compressed.
            Some(responses) if !self.is_head => {
                let response = responses.hold(response, false).await;
                if gzip && response.status() == StatusCode::OK {
                    responses.compress(response).await
                } else {
                    response
                }
            }
            _ => response,
        }
    }
}

/// Whether `Accept-Encoding` asks for gzip, and not rather for the answer as it is. A client that wants neither is
/// answered as one that asks for nothing.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter();
    for coding in codings
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(MOST_CODINGS)
    {
        let (name, parameter) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let Some(weight) = weight(parameter.trim()) else {
            continue;
        };
        let is = |known: &str| name.trim().eq_ignore_ascii_case(known);
        if is("gzip") || is("x-gzip") {
            gzip = Some(weight);
        } else if is("identity") {
            identity = Some(weight);
        } else if is("*") {
            any = Some(weight);
        }
    }
    let gzip = gzip.or(any).unwrap_or_default();
    gzip > 0.0 && gzip >= identity.or(any).unwrap_or_default()
}

/// The weight that `q=0.5` gives.
fn weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let weight = value.parse().ok()?;
    (name.eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&weight)).then_some(weight)
}

pub(super) fn is_text(media_type: &HeaderValue) -> bool {
    let media_type = media_type.as_bytes();
    let kinds: [&[u8]; 3] = [b"application/json", b"text/", b"image/svg"];
    kinds.iter().any(|kind| media_type.starts_with(kind))
}

pub(super) fn vary_by_encoding(headers: &mut HeaderMap) {
    let vary = headers.get(header::VARY).and_then(|vary| vary.to_str().ok());
    let vary = match vary {
        Some(vary) => HeaderValue::from_str(&format!("{vary}, Accept-Encoding"))
            .expect("what stood in a header still can with a name more"),
        None => HeaderValue::from_static("Accept-Encoding"),
    };
    headers.insert(header::VARY, vary);
}
