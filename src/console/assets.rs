//! Style sheet, scripts and icon, each part of the program. Their addresses name the version: browsers keep them for good.

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

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 6] = [
    Asset {
        name: "console.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/console.css"),
    },
    Asset {
        name: "console.js",
        content_type: SCRIPT,
        bytes: include_bytes!("assets/console.js"),
    },
    Asset {
        name: "htmx.min.js",
        content_type: SCRIPT,
        bytes: include_bytes!("assets/htmx.min.js"),
    },
    Asset {
        name: "htmx-sse.min.js",
        content_type: SCRIPT,
        bytes: include_bytes!("assets/htmx-sse.min.js"),
    },
    Asset {
        name: "icons.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("assets/icons.svg"),
    },
    Asset {
        name: "favicon.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("assets/favicon.svg"),
    },
];

/// The address of an asset, for templates.
pub fn asset(name: &str) -> String {
    let bytes = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .map_or(&[][..], |asset| asset.bytes);
    format!("/admin/assets/{:016x}/{name}", xxh3_64(bytes))
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/assets/{version}/{name}", get(serve))
}

static FILES: LazyLock<[StaticFile; ASSETS.len()]> = LazyLock::new(|| {
    ASSETS.map(|asset| {
        let content_type = HeaderValue::from_static(asset.content_type);
        StaticFile::new(content_type, Bytes::from_static(asset.bytes))
            .cached("public, max-age=31536000, immutable")
    })
});

async fn serve(Path((_, name)): Path<(String, String)>, request: Request) -> Response {
    match ASSETS.iter().position(|asset| asset.name == name) {
        Some(index) => FILES[index].answer(&request),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
