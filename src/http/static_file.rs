//! A file that is part of the program. All answers share its bytes, and its compressed bytes.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use super::{
    compression::{self, add_vary},
    conditional::{ConditionalRead, is_listed, tag},
    responses::Counted,
};

/// A file that is part of the program.
#[derive(Debug)]
pub struct StaticFile {
    content_type: HeaderValue,
    cache_control: Option<HeaderValue>,
    plain: Bytes,
    /// Made for the first request.
    made: OnceLock<Made>,
}

#[derive(Debug)]
struct Made {
    tag: HeaderValue,
    gzip: Option<Bytes>,
}

impl StaticFile {
    /// A file of this type.
    pub const fn new(content_type: HeaderValue, bytes: Bytes) -> Self {
        Self {
            content_type,
            cache_control: None,
            plain: bytes,
            made: OnceLock::new(),
        }
    }

    /// The same file with a `Cache-Control` header.
    pub fn cached(self, cache_control: &'static str) -> Self {
        Self {
            cache_control: Some(HeaderValue::from_static(cache_control)),
            ..self
        }
    }

    /// Answers a request for the file: 304 if the client has it, gzipped if the client accepts that.
    pub fn answer(&self, request: &Request) -> Response {
        let made = self.made.get_or_init(|| Made {
            tag: tag(&self.plain),
            gzip: self.compressed(),
        });
        let mut response = Response::default();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.insert(header::ETAG, made.tag.clone());
        if let Some(cache_control) = &self.cache_control {
            headers.insert(header::CACHE_CONTROL, cache_control.clone());
        }
        let mut bytes = &self.plain;
        let Some(conditional) = ConditionalRead::of(request) else {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        };
        if let Some(gzip) = made.gzip.as_ref().filter(|_| conditional.gzip) {
            add_vary(headers, "Accept-Encoding");
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            bytes = gzip;
        }
        if is_listed(&made.tag, &conditional.known) {
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_ENCODING);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        *response.body_mut() = Body::from(bytes.clone());
        response.extensions_mut().insert(Counted);
        response
    }

    /// `None` where compression does not pay.
    fn compressed(&self) -> Option<Bytes> {
        let pays = compression::pays(Some(&self.content_type), self.plain.len());
        pays.then(|| gzip(&self.plain).ok()).flatten()
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    let mut compressed = encoder.finish()?;
    compressed.shrink_to_fit();
    Ok(compressed.into())
}
