//! gzip: for which answers it pays, which clients get it, and how it is made.
//!
//! tower-http compresses. Which answers is decided here, because its layer answers 406 where no coding suits the client, and
//! adds `Accept-Encoding` to the `Vary` of answers that it does not compress.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::{CompressionLevel, compression::CompressionLayer};

/// The size from which on compression pays, in bytes: a smaller answer fits into one packet as it is.
const MIN_SIZE: usize = 1024;
/// How many codings of `Accept-Encoding` are read. The rest is ignored.
const MAX_CODINGS: usize = 64;

/// Whether a body is a text, and long enough.
pub(super) fn pays(media_type: Option<&HeaderValue>, size: usize) -> bool {
    const TEXTS: [&[u8]; 3] = [b"application/json", b"text/", b"image/svg"];
    size >= MIN_SIZE
        && media_type.is_some_and(|media_type| {
            let media_type = media_type.as_bytes();
            TEXTS.iter().any(|text| media_type.starts_with(text))
        })
}

/// Whether `Accept-Encoding` prefers gzip to the plain answer. A client that accepts neither gets the plain answer.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter();
    for coding in codings
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(MAX_CODINGS)
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

/// Adds a name to `Vary`, unless the header has it.
pub(super) fn add_vary(headers: &mut HeaderMap, name: &'static str) {
    let vary = match headers.get(header::VARY).map(HeaderValue::as_bytes) {
        Some(vary)
            if vary
                .split(|byte| *byte == b',')
                .any(|known| known.trim_ascii() == name.as_bytes()) =>
        {
            return;
        }
        Some(vary) => HeaderValue::from_bytes(&[vary, b", ", name.as_bytes()].concat())
            .expect("a header value stays valid with another name"),
        None => HeaderValue::from_static(name),
    };
    headers.insert(header::VARY, vary);
}

/// Compresses an answer while it is sent. The permit lives as long as the compressor.
pub(super) async fn gzip(response: Response, permit: OwnedSemaphorePermit) -> Response {
    let mut request = Request::new(Body::empty());
    let gzip = HeaderValue::from_static("gzip");
    request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
    let mut response = Some(response);
    let answered = service_fn(move |_: Request| {
        let response = response.take().unwrap_or_default();
        async { Ok::<_, Infallible>(response) }
    });
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
    let Ok(response) = compression.layer(answered).oneshot(request).await;
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &permit;
            frame
        }))
    })
}
