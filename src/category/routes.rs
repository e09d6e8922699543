//! `/api/categories/`

use axum::{Json, extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    model::{Category, CategoryFields},
    queries,
};
use crate::{
    auth::Area,
    db::{self, violated_constraint},
    http::{
        ApiError, AppState, Body, Caller, Conflict, IdempotencyKey, IfMatch, Invalid, InvalidParameter,
        ListParams, ListRequest, Listing, NotFound, Presence, RecordId, Tagged, deleted, endpoint,
    },
};

const NO_SUCH: ApiError = ApiError::NotFound("Category");

/// The routes of categories.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(endpoint(
            routes!(list, create),
            "GET, POST, HEAD, OPTIONS",
            Area::Catalog,
        ))
        .routes(endpoint(
            routes!(retrieve, replace, patch, delete),
            "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
            Area::Catalog,
        ))
}

/// All categories, by name.
#[utoipa::path(get, path = "/api/categories/", tag = "Categories", params(ListParams),
    responses((status = 200, body = Listing<Category>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    State(db): State<PgPool>,
    list: ListRequest<Category>,
) -> Result<Json<Listing<Category>>, ApiError> {
    let slice = list.slice(queries::count(&db)).await?;
    let rows = queries::list(&db, &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Create a category.
#[utoipa::path(post, path = "/api/categories/", tag = "Categories", request_body = CategoryFields,
    responses((status = 201, body = Category), (status = 400, response = Invalid)))]
async fn create(
    State(db): State<PgPool>,
    caller: Caller,
    once: IdempotencyKey,
    body: Body,
) -> Result<(StatusCode, Json<Category>), ApiError> {
    caller.require_all_stores()?;
    let mut fields = body.fields(Presence::Complete)?;
    let sent = CategoryFields::read(&mut fields);
    let sent = fields.finish(sent)?;
    let mut tx = db.begin().await?;
    let category = queries::insert(&mut tx, &sent, &caller.audit_context())
        .await
        .map_err(refused)?;
    once.commit(tx, StatusCode::CREATED, category).await
}

/// One category.
#[utoipa::path(get, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)),
    responses((status = 200, body = Category), (status = 404, response = NotFound)))]
async fn retrieve(State(db): State<PgPool>, RecordId(id): RecordId) -> Result<Json<Category>, ApiError> {
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Write a category.
#[utoipa::path(put, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)), request_body = CategoryFields,
    responses((status = 200, body = Category), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Category>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Complete).await
}

/// Write what is sent of a category.
#[utoipa::path(patch, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)), request_body = CategoryFields,
    responses((status = 200, body = Category), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Category>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Partial).await
}

async fn update(
    db: &PgPool,
    caller: &Caller,
    if_match: &IfMatch,
    RecordId(id): RecordId,
    body: &Body,
    presence: Presence,
) -> Result<Tagged<Category>, ApiError> {
    let current = queries::get(db, id).await?.ok_or(NO_SUCH)?;
    caller.require_all_stores()?;
    if_match.require(&current)?;
    let mut fields = body.fields(presence)?;
    let sent = CategoryFields::read(&mut fields);
    let sent = fields.finish(sent)?;
    let by = caller.audit_context();
    queries::update(db, id, &sent, if_match, &by)
        .await
        .map_err(refused)?
        .answer(NO_SUCH)
}

/// Delete a category with its products and their stock.
#[utoipa::path(delete, path = "/api/categories/{id}/", tag = "Categories", params(("id" = i64, Path)),
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
    deleted(
        deletion,
        NO_SUCH,
        "Cannot delete this category: it has products that were ordered.",
    )
}

fn refused(error: sqlx::Error) -> ApiError {
    match violated_constraint(&error) {
        Some("category_name_key") => ApiError::field("name", "Category with this name already exists."),
        _ => error.into(),
    }
}
