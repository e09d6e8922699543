//! The OpenAPI document.

use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::{http, order, product};
use redis_rate_limit::RateLimitLayer;

/// The document without its routes.
fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Afforo")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Inventory and orders: stock per store, and orders placed atomically against it.\n\n\
             Beside what is said of each operation, any request may be refused with a `detail` that says why: 400 for a \
             host that the server is not known by, 500 for a fault of the server, 503 while its database is away or there is \
             too much to do, and 408 if its body comes too slowly.\n\n\
             What is read is compressed with gzip from 1 KiB on, where `Accept-Encoding` asks for it.",
        ))
        .license(Some(
            LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build(),
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(http::components()))
        .build()
}

/// The OpenAPI 3.1 document of all routes.
pub fn document() -> OpenApi {
    // It makes no request, so nothing connects.
    let unused = redis::Client::open("redis://localhost/").expect("the URL is one");
    let limit = RateLimitLayer::builder(unused).build();
    let limits = product::RateLimits {
        autocomplete: limit.clone(),
        search: limit,
    };
    OpenApiRouter::with_openapi(base())
        .merge(super::health(None))
        .merge(super::api(limits))
        .merge(order::placement_router())
        .into_openapi()
}
