//! No more over the wire than needed: 304 for what the client has already, gzip for what it takes.
//!
//! Not tower-http's layer for compression, because of what it makes of answers that clients know: where no coding would
//! suit the client, it turns what was done already into a 406; it adds `Accept-Encoding` to the `Vary` of answers that it
//! leaves alone, on a line of its own; and it forgets their lengths.

use std::io::{self, Write};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use super::{
    Problem,
    conditional::{is_listed, tag},
};

/// From what size on, in bytes, compression pays: what is smaller fits into one packet as it is.
const SMALLEST: usize = 1024;
/// From what size on, in bytes, compression takes so long that it is kept from the threads that answer others.
const LARGE: usize = 128 * 1024;

/// What a client that only reads says of the answer that it could do with.
#[derive(Debug)]
pub(super) struct Terms {
    /// The tags of the answers that it has.
    known: Vec<HeaderValue>,
    gzip: bool,
}

/// Has a route that does not go through [`endpoint`](super::endpoint) send no more than needed.
pub async fn spare(request: Request, next: Next) -> Response {
    let terms = Terms::of(&request);
    let response = next.run(request).await;
    match terms {
        Some(terms) => terms.apply(response).await,
        None => response,
    }
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
        })
    }

    /// Gives a 200 its `ETag`, and sends it shorter or not at all where that is agreed.
    pub async fn apply(self, response: Response) -> Response {
        if response.status() != StatusCode::OK || response.size_hint().exact().is_none() {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let body = match to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(error) => return Problem::Internal(error.into()).into_response(),
        };
        let headers = &mut parts.headers;
        let gzip = self.gzip && body.len() >= SMALLEST && is_text(headers);
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
        if !gzip {
            return Response::from_parts(parts, body.into());
        }
        match compressed(body).await {
            Ok(shorter) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.remove(header::CONTENT_LENGTH);
                Response::from_parts(parts, shorter.into())
            }
            Err(error) => Problem::Internal(error.into()).into_response(),
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
    {
        let (name, parameter) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let Some(weight) = weight(parameter.trim()) else {
            continue;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
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

fn is_text(headers: &HeaderMap) -> bool {
    let is_plain = !headers.contains_key(header::CONTENT_ENCODING);
    let media_type = headers.get(header::CONTENT_TYPE);
    is_plain
        && media_type.is_some_and(|media_type| {
            let media_type = media_type.as_bytes();
            media_type.starts_with(b"application/json") || media_type.starts_with(b"text/")
        })
}

fn vary_by_encoding(headers: &mut HeaderMap) {
    let vary = headers.get(header::VARY).and_then(|vary| vary.to_str().ok());
    let vary = match vary {
        Some(vary) => HeaderValue::from_str(&format!("{vary}, Accept-Encoding"))
            .expect("what stood in a header still can with a name more"),
        None => HeaderValue::from_static("Accept-Encoding"),
    };
    headers.insert(header::VARY, vary);
}

async fn compressed(body: Bytes) -> io::Result<Bytes> {
    if body.len() < LARGE {
        return gzip(&body);
    }
    tokio::task::spawn_blocking(move || gzip(&body)).await?
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}
