//! `/api/categories/`

use axum::http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands::{self, NO_SUCH},
    model::{Category, CategoryFields},
    queries,
};
use crate::{
    auth::Area,
    http::{
        ApiError, AppState, Body, CommandContext, Conflict, IfMatch, Invalid, InvalidParameter, Json,
        ListParams, ListRequest, Listing, NotFound, Presence, Reads, RecordId, Tagged, api_route,
    },
};

/// The routes of categories.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(list, create), Area::Catalog))
        .routes(api_route(
            routes!(retrieve, replace, patch, delete),
            Area::Catalog,
        ))
}

/// List categories, sorted by name.
#[utoipa::path(get, path = "/api/categories/", tag = "Categories", params(ListParams),
    responses((status = 200, body = Listing<Category>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(Reads(db): Reads, list: ListRequest<Category>) -> Result<Json<Listing<Category>>, ApiError> {
    let rows = queries::list(&db, &list.query()?).await?;
    list.answer(rows).map(Json)
}

/// Create a category.
#[utoipa::path(post, path = "/api/categories/", tag = "Categories", request_body = CategoryFields,
    responses((status = 201, body = Category), (status = 400, response = Invalid)))]
async fn create(context: CommandContext, body: Body) -> Result<(StatusCode, Json<Category>), ApiError> {
    let category = commands::create(&context, &body).await?;
    Ok((StatusCode::CREATED, Json(category)))
}

/// Get a category.
#[utoipa::path(get, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)),
    responses((status = 200, body = Category), (status = 404, response = NotFound)))]
async fn retrieve(Reads(db): Reads, RecordId(id): RecordId) -> Result<Json<Category>, ApiError> {
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Replace a category.
#[utoipa::path(put, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)), request_body = CategoryFields,
    responses((status = 200, body = Category), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Category>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Complete).await?;
    Ok(Tagged(written))
}

/// Partially update a category.
#[utoipa::path(patch, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)), request_body = CategoryFields,
    responses((status = 200, body = Category), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Category>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Partial).await?;
    Ok(Tagged(written))
}

/// Delete a category with its products and their stock.
///
/// Refused if orders refer to one of its products.
#[utoipa::path(delete, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn delete(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    commands::delete(&context, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}
