//! `/` and `/api/`: a browser is redirected, other clients get links.

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde_json::{Map, Value};

use crate::http::{AppState, base_url};

const SERVICE: &[(&str, &str)] = &[
    ("api", "/api/"),
    ("documentation", "/api/docs/"),
    ("openapi", "/api/openapi.json"),
    ("console", "/admin/"),
    ("health", "/health/"),
    ("readiness", "/health/ready/"),
];

const API: &[(&str, &str)] = &[
    ("categories", "/api/categories/"),
    ("products", "/api/products/"),
    ("product_search", "/api/products/search/"),
    ("product_autocomplete", "/api/products/autocomplete/"),
    ("stores", "/api/stores/"),
    ("inventory", "/api/inventory/"),
    ("orders", "/api/orders/"),
    ("order_stats", "/api/orders/stats/"),
    ("documentation", "/api/docs/"),
    ("openapi", "/api/openapi.json"),
];

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route(
            "/",
            get(async |request: Request| answer(request, SERVICE, "/admin/")),
        )
        .route(
            "/api/",
            get(async |request: Request| answer(request, API, "/api/docs/")),
        )
}

fn answer(request: Request, links: &[(&str, &str)], page: &str) -> Response {
    let (parts, _) = request.into_parts();
    let mut response = if is_browser(&parts.headers) {
        Redirect::to(page).into_response()
    } else {
        let base = base_url(&parts);
        let links = links.iter().map(|(name, path)| {
            let link = Value::from(format!("{base}{path}"));
            ((*name).to_owned(), link)
        });
        Json(links.collect::<Map<_, _>>()).into_response()
    };
    let vary = HeaderValue::from_static("Accept");
    response.headers_mut().insert(header::VARY, vary);
    response
}

/// Browsers accept HTML by name; other clients accept JSON, or anything.
fn is_browser(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}
