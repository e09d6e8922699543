//! `/api/stores/`

use axum::http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands::{self, NO_SUCH, require_granted},
    model::{Store, StoreFields},
    queries,
};
use crate::{
    auth::{Area, Stores},
    http::{
        ApiError, AppState, Body, CommandContext, Conflict, IfMatch, Invalid, InvalidParameter, Json,
        ListParams, ListRequest, Listing, NotFound, Presence, Reads, RecordId, Tagged, api_route,
    },
};

/// The routes of stores.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(list, create), Area::Catalog))
        .routes(api_route(
            routes!(retrieve, replace, patch, delete),
            Area::Catalog,
        ))
}

/// List active stores, sorted by name.
#[utoipa::path(get, path = "/api/stores/", tag = "Stores", params(ListParams),
    responses((status = 200, body = Listing<Store>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    Reads(db): Reads,
    stores: Stores,
    list: ListRequest<Store>,
) -> Result<Json<Listing<Store>>, ApiError> {
    let ids = stores.as_sql_param();
    let rows = queries::list(&db, ids.as_deref(), &list.query()?).await?;
    list.answer(rows).map(Json)
}

/// Create a store.
#[utoipa::path(post, path = "/api/stores/", tag = "Stores", request_body = StoreFields,
    responses((status = 201, body = Store), (status = 400, response = Invalid)))]
async fn create(context: CommandContext, body: Body) -> Result<(StatusCode, Json<Store>), ApiError> {
    let store = commands::create(&context, &body).await?;
    Ok((StatusCode::CREATED, Json(store)))
}

/// Get a store, active or not.
#[utoipa::path(get, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)),
    responses((status = 200, body = Store), (status = 404, response = NotFound)))]
async fn retrieve(Reads(db): Reads, stores: Stores, RecordId(id): RecordId) -> Result<Json<Store>, ApiError> {
    require_granted(&stores, id)?;
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Replace a store.
#[utoipa::path(put, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)), request_body = StoreFields,
    responses((status = 200, body = Store), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Store>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Complete).await?;
    Ok(Tagged(written))
}

/// Partially update a store.
#[utoipa::path(patch, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)), request_body = StoreFields,
    responses((status = 200, body = Store), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Store>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Partial).await?;
    Ok(Tagged(written))
}

/// Delete a store with its stock.
///
/// Refused if orders refer to it.
#[utoipa::path(delete, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn delete(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    commands::delete(&context, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}
