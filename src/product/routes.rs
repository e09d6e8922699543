//! `/api/products/`

use axum::{extract::Path, http::StatusCode};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt},
    routes,
};

use super::{
    autocomplete,
    bulk::{self, NewProducts, ProductResults},
    commands::{self, NO_SUCH},
    model::{Product, ProductFields},
    queries, search,
};
use crate::{
    auth::Area,
    http::{
        Answered, ApiError, AppState, Body, CommandContext, Conflict, IfMatch, Invalid, InvalidParameter,
        Json, ListParams, ListRequest, Listing, NotFound, Params, Presence, PutConditions, Reads, RecordId,
        Tagged, api_route,
    },
};
use redis_rate_limit::RateLimitLayer;

/// Maximum number of SKUs to filter by.
const MOST_SKUS: usize = 100;

/// How often a client may search. Without a limit there is no layer, which would cost each request a boxed future.
pub struct RateLimits {
    /// For autocomplete.
    pub autocomplete: Option<RateLimitLayer>,
    /// For the search.
    pub search: Option<RateLimitLayer>,
}

/// The routes of products.
pub fn router(limits: RateLimits) -> OpenApiRouter<AppState> {
    let limited = |routes: UtoipaMethodRouter<AppState>, limit: Option<RateLimitLayer>| match limit {
        Some(limit) => routes.layer(limit),
        None => routes,
    };
    let autocomplete = limited(routes!(autocomplete::autocomplete), limits.autocomplete);
    let search = limited(routes!(search::search), limits.search);
    OpenApiRouter::new()
        .routes(api_route(routes!(list, create), Area::Catalog))
        .routes(api_route(search, Area::Catalog))
        .routes(api_route(autocomplete, Area::Catalog))
        .routes(api_route(routes!(write_many), Area::Catalog))
        .routes(api_route(routes!(put_by_sku), Area::Catalog))
        .routes(api_route(
            routes!(retrieve, replace, patch, delete),
            Area::Catalog,
        ))
}

/// List active products, sorted by title.
///
/// With `sku`, the list has the products with these SKUs, active or not, on one page.
#[utoipa::path(get, path = "/api/products/", tag = "Products",
    params(
        ("sku" = Option<Vec<String>>, Query, description = "SKUs, each as a parameter of its own: at most 100"),
        ListParams,
    ),
    responses((status = 200, body = Listing<Product>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    Reads(db): Reads,
    mut params: Params,
    list: ListRequest<Product>,
) -> Result<Json<Listing<Product>>, ApiError> {
    let skus = params.codes("sku", MOST_SKUS);
    let skus = params.finish(skus)?;
    if !skus.is_empty() {
        let products = queries::with_skus(&db, &skus).await?;
        return Ok(Json(Listing::whole(products)));
    }
    let rows = queries::list(&db, &list.query()?).await?;
    list.answer(rows).map(Json)
}

/// Create a product.
#[utoipa::path(post, path = "/api/products/", tag = "Products", request_body = ProductFields,
    responses((status = 201, body = Product), (status = 400, response = Invalid)))]
async fn create(context: CommandContext, body: Body) -> Result<(StatusCode, Json<Product>), ApiError> {
    let product = commands::create(&context, &body).await?;
    Ok((StatusCode::CREATED, Json(product)))
}

/// Create and change up to 1,000 products by SKU.
///
/// Omitted fields of a product that exists keep their values.
#[utoipa::path(post, path = "/api/products/bulk/", tag = "Products", request_body = NewProducts,
    responses(
        (status = 200, description = "All products were written; or, with `per_item`, those that have not failed", body = ProductResults),
        (status = 400, response = Invalid),
        (status = 409, description = "A product failed, and nothing was written", body = ProductResults),
    ))]
async fn write_many(context: CommandContext, body: Body) -> Result<Answered<ProductResults>, ApiError> {
    bulk::write_many(&context, &body).await
}

/// Create or replace the product with a SKU.
///
/// `If-None-Match: *` only creates.
#[utoipa::path(put, path = "/api/products/by-sku/{sku}/", tag = "Products", request_body = ProductFields,
    params(
        ("sku" = String, Path, description = "SKU, percent-encoded"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
    ),
    responses((status = 200, body = Product), (status = 201, body = Product), (status = 400, response = Invalid)))]
async fn put_by_sku(
    context: CommandContext,
    conditions: PutConditions,
    Path(sku): Path<String>,
    body: Body,
) -> Result<(StatusCode, Tagged<Product>), ApiError> {
    bulk::put(&context, &sku, &conditions, &body).await
}

/// Get a product, active or not.
#[utoipa::path(get, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)),
    responses((status = 200, body = Product), (status = 404, response = NotFound)))]
async fn retrieve(Reads(db): Reads, RecordId(id): RecordId) -> Result<Json<Product>, ApiError> {
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Replace a product.
#[utoipa::path(put, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)), request_body = ProductFields,
    responses((status = 200, body = Product), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Product>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Complete).await?;
    Ok(Tagged(written))
}

/// Partially update a product.
#[utoipa::path(patch, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)), request_body = ProductFields,
    responses((status = 200, body = Product), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Product>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Partial).await?;
    Ok(Tagged(written))
}

/// Delete a product with its stock.
///
/// Refused if orders refer to it.
#[utoipa::path(delete, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn delete(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    commands::delete(&context, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}
