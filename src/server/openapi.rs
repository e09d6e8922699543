//! The OpenAPI document.

use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::examples;
use crate::{http, order, product};

/// The document without its routes.
fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Afforo")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Inventory and orders: stock per store, and orders placed atomically against it.\n\n\
             Send an API key as `Authorization: Bearer …` or as `X-API-Key`; one of them suffices. Create keys in the console or \
             with `afforo apikey create`.\n\n\
             Lists have pages of 20 rows. Send `page` for a numbered page with a count, or `cursor` to read a long list from \
             end to end.\n\n\
             A POST with an `Idempotency-Key` can be repeated safely.\n\n\
             Besides the responses of each operation, any request may fail with a `detail`: 400 for a host that is not \
             allowed, 408 if the body arrives too slowly, 500 for a server error, 503 if the database is unavailable or the \
             server is overloaded.\n\n\
             Responses of 1 KiB or more are gzipped if the client accepts it.",
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
    let limits = product::RateLimits {
        autocomplete: None,
        search: None,
    };
    let mut document = OpenApiRouter::with_openapi(base())
        .merge(super::health(None))
        .merge(super::api(limits))
        .merge(order::placement_router())
        .into_openapi();
    examples::add(&mut document);
    document
}
