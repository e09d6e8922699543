//! `/api/products/`

use axum::{Json, extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use super::{
    autocomplete,
    model::{Product, ProductFields},
    queries, search,
};
use crate::{
    auth::Area,
    category,
    db::{self, violated_constraint},
    http::{
        ApiError, AppState, Body, Caller, Conflict, Fields, IdempotencyKey, IfMatch, Invalid,
        InvalidParameter, ListParams, ListRequest, Listing, NotFound, Presence, RecordId, Tagged, deleted,
        endpoint,
    },
};
use redis_rate_limit::RateLimitLayer;

const NO_SUCH: ApiError = ApiError::NotFound("Product");

/// How often a client may search.
#[allow(missing_debug_implementations, reason = "the layers have none")]
pub struct RateLimits {
    /// For autocomplete.
    pub autocomplete: RateLimitLayer,
    /// For the search.
    pub search: RateLimitLayer,
}

/// The routes of products.
pub fn router(limits: RateLimits) -> OpenApiRouter<AppState> {
    let autocomplete = routes!(autocomplete::autocomplete).layer(limits.autocomplete);
    let search = routes!(search::search).layer(limits.search);
    OpenApiRouter::new()
        .routes(endpoint(
            routes!(list, create),
            "GET, POST, HEAD, OPTIONS",
            Area::Catalog,
        ))
        .routes(endpoint(search, "GET, HEAD, OPTIONS", Area::Catalog))
        .routes(endpoint(autocomplete, "GET, HEAD, OPTIONS", Area::Catalog))
        .routes(endpoint(
            routes!(retrieve, replace, patch, delete),
            "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
            Area::Catalog,
        ))
}

/// Active products, by title.
#[utoipa::path(get, path = "/api/products/", tag = "Products", params(ListParams),
    responses((status = 200, body = Listing<Product>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    State(db): State<PgPool>,
    list: ListRequest<Product>,
) -> Result<Json<Listing<Product>>, ApiError> {
    let slice = list.slice(queries::count(&db)).await?;
    let rows = queries::list(&db, &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Create a product.
#[utoipa::path(post, path = "/api/products/", tag = "Products", request_body = ProductFields,
    responses((status = 201, body = Product), (status = 400, response = Invalid)))]
async fn create(
    State(db): State<PgPool>,
    caller: Caller,
    once: IdempotencyKey,
    body: Body,
) -> Result<(StatusCode, Json<Product>), ApiError> {
    caller.require_all_stores()?;
    let mut fields = body.fields(Presence::Complete)?;
    let sent = read(&db, &mut fields).await?;
    let sent = fields.finish(sent)?;
    let mut tx = db.begin().await?;
    let product = queries::insert(&mut tx, &sent, &caller.audit_context())
        .await
        .map_err(|error| refused(error, &sent))?;
    once.commit(tx, StatusCode::CREATED, product).await
}

/// One product, active or not.
#[utoipa::path(get, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)),
    responses((status = 200, body = Product), (status = 404, response = NotFound)))]
async fn retrieve(State(db): State<PgPool>, RecordId(id): RecordId) -> Result<Json<Product>, ApiError> {
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Write a product.
#[utoipa::path(put, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)), request_body = ProductFields,
    responses((status = 200, body = Product), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Product>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Complete).await
}

/// Write what is sent of a product.
#[utoipa::path(patch, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)), request_body = ProductFields,
    responses((status = 200, body = Product), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Product>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Partial).await
}

async fn update(
    db: &PgPool,
    caller: &Caller,
    if_match: &IfMatch,
    RecordId(id): RecordId,
    body: &Body,
    presence: Presence,
) -> Result<Tagged<Product>, ApiError> {
    let current = queries::get(db, id).await?.ok_or(NO_SUCH)?;
    caller.require_all_stores()?;
    if_match.require(&current)?;
    let mut fields = body.fields(presence)?;
    let sent = read(db, &mut fields).await?;
    let sent = fields.finish(sent)?;
    let by = caller.audit_context();
    db::retry(|| queries::update(db, id, &sent, if_match, &by))
        .await
        .map_err(|error| refused(error, &sent))?
        .answer(NO_SUCH)
}

/// Delete a product with its stock.
#[utoipa::path(delete, path = "/api/products/{id}/", tag = "Products", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn delete(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    caller.require_all_stores()?;
    let by = caller.audit_context();
    let deletion = db::retry(|| queries::delete(&db, id, &if_match, &by)).await?;
    deleted(deletion, NO_SUCH, "Cannot delete this product: it was ordered.")
}

/// Reads the fields and looks up what they refer to.
async fn read(db: &PgPool, fields: &mut Fields<'_>) -> sqlx::Result<ProductFields> {
    let sent = ProductFields::read(fields);
    if let Some(reference) = &sent.category_id
        && !category::exists(db, reference.id).await?
    {
        fields.reject("category_id", reference.missing());
    }
    Ok(sent)
}

/// The category may have gone since it was looked up.
fn refused(error: sqlx::Error, sent: &ProductFields) -> ApiError {
    match (violated_constraint(&error), &sent.category_id) {
        (Some("product_category_id_fkey"), Some(reference)) => {
            ApiError::field("category_id", reference.missing())
        }
        _ => error.into(),
    }
}
