//! `/api/openapi.json`, and a page to try the API at `/api/docs/`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, serve};

use crate::http::{ApiError, AppState, StaticFile};

const DOCUMENT: &str = "/api/openapi.json";
/// Only files of this server. The page sets inline styles, and its style sheet has small images in it.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
);

/// The routes of the document and of the page.
pub(super) fn router(document: &OpenApi) -> Router<AppState> {
    let json = serde_json::to_vec(document).expect("a document is made of texts and numbers");
    let json = Arc::new(StaticFile::new(
        HeaderValue::from_static("application/json"),
        json.into(),
    ));
    let page = Page::new();
    let index = page.clone();
    Router::new()
        .route(DOCUMENT, get(async move |request: Request| json.answer(&request)))
        .route(
            "/api/docs/",
            get(async move |request: Request| index.answer("", &request)),
        )
        .route(
            "/api/docs/{*file}",
            get(async move |Path(file): Path<String>, request: Request| page.answer(&file, &request)),
        )
}

/// The files of the page, about a dozen. Each is made for its first request, and kept.
#[derive(Clone)]
struct Page {
    config: Arc<Config<'static>>,
    files: Arc<Mutex<HashMap<String, Arc<StaticFile>>>>,
}

impl Page {
    fn new() -> Self {
        // The validator badge would send the document's address to another site.
        let config = Config::new([DOCUMENT]).validator_url("none");
        Self {
            config: Arc::new(config),
            files: Arc::default(),
        }
    }

    fn answer(&self, name: &str, request: &Request) -> Response {
        let Some(file) = self.file(name) else {
            return ApiError::not_found().into_response();
        };
        let mut response = file.answer(request);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        response
    }

    fn file(&self, name: &str) -> Option<Arc<StaticFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(name) {
            return Some(file.clone());
        }
        let made = serve(name, self.config.clone()).ok().flatten()?;
        let content_type = made.content_type.parse().ok()?;
        let file = Arc::new(StaticFile::new(content_type, Bytes::from_owner(made.bytes)));
        files.insert(name.to_owned(), file.clone());
        Some(file)
    }
}
