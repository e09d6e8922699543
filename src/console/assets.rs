//! Style sheet, scripts and icons, embedded in the program. Their addresses contain a hash, so browsers cache them forever.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use xxhash_rust::xxh3::xxh3_64;

use super::state::Console;
use crate::http::StaticFile;

/// The name, the content type and the content of an asset.
type Asset = (&'static str, &'static str, &'static [u8]);

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const ASSETS: [Asset; 6] = [
    ("console.css", STYLE, include_bytes!("assets/console.css")),
    ("console.js", SCRIPT, include_bytes!("assets/console.js")),
    ("htmx.min.js", SCRIPT, include_bytes!("assets/htmx.min.js")),
    (
        "htmx-sse.min.js",
        SCRIPT,
        include_bytes!("assets/htmx-sse.min.js"),
    ),
    ("icons.svg", IMAGE, include_bytes!("assets/icons.svg")),
    ("favicon.svg", IMAGE, include_bytes!("assets/favicon.svg")),
];

/// The address of an asset, for templates.
pub fn asset(name: &str) -> String {
    let asset = ASSETS.iter().find(|(known, ..)| *known == name);
    let bytes = asset.map_or(&[][..], |(.., bytes)| bytes);
    format!("/admin/assets/{:016x}/{name}", xxh3_64(bytes))
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/assets/{version}/{name}", get(serve))
}

static FILES: LazyLock<[StaticFile; ASSETS.len()]> = LazyLock::new(|| {
    ASSETS.map(|(_, content_type, bytes)| {
        StaticFile::new(HeaderValue::from_static(content_type), Bytes::from_static(bytes))
            .cached("public, max-age=31536000, immutable")
    })
});

async fn serve(Path((_, name)): Path<(String, String)>, request: Request) -> Response {
    match ASSETS.iter().position(|(known, ..)| *known == name) {
        Some(index) => FILES[index].answer(&request),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
