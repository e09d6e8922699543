//! `/api/stores/`

use axum::{Json, extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    model::{Store, StoreFields},
    queries,
};
use crate::{
    auth::{Area, Stores},
    db,
    http::{
        ApiError, AppState, Body, Caller, Conflict, IdempotencyKey, IfMatch, Invalid, InvalidParameter,
        ListParams, ListRequest, Listing, NotFound, Presence, RecordId, Tagged, deleted, endpoint,
    },
};

const NO_SUCH: ApiError = ApiError::NotFound("Store");

/// The routes of stores.
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

/// Active stores, by name.
#[utoipa::path(get, path = "/api/stores/", tag = "Stores", params(ListParams),
    responses((status = 200, body = Listing<Store>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    State(db): State<PgPool>,
    stores: Stores,
    list: ListRequest<Store>,
) -> Result<Json<Listing<Store>>, ApiError> {
    let ids = stores.as_sql_param();
    let slice = list.slice(queries::count(&db, ids.as_deref())).await?;
    let rows = queries::list(&db, ids.as_deref(), &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Create a store.
#[utoipa::path(post, path = "/api/stores/", tag = "Stores", request_body = StoreFields,
    responses((status = 201, body = Store), (status = 400, response = Invalid)))]
async fn create(
    State(db): State<PgPool>,
    caller: Caller,
    once: IdempotencyKey,
    body: Body,
) -> Result<(StatusCode, Json<Store>), ApiError> {
    caller.require_all_stores()?;
    let mut fields = body.fields(Presence::Complete)?;
    let sent = StoreFields::read(&mut fields);
    let sent = fields.finish(sent)?;
    let mut tx = db.begin().await?;
    let store = queries::insert(&mut tx, &sent, &caller.audit_context()).await?;
    once.commit(tx, StatusCode::CREATED, store).await
}

/// One store, active or not.
#[utoipa::path(get, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)),
    responses((status = 200, body = Store), (status = 404, response = NotFound)))]
async fn retrieve(
    State(db): State<PgPool>,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Store>, ApiError> {
    granted(&stores, id)?;
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Write a store.
#[utoipa::path(put, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)), request_body = StoreFields,
    responses((status = 200, body = Store), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Store>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Complete).await
}

/// Write what is sent of a store.
#[utoipa::path(patch, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)), request_body = StoreFields,
    responses((status = 200, body = Store), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Store>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Partial).await
}

async fn update(
    db: &PgPool,
    caller: &Caller,
    if_match: &IfMatch,
    RecordId(id): RecordId,
    body: &Body,
    presence: Presence,
) -> Result<Tagged<Store>, ApiError> {
    granted(&caller.grant.stores, id)?;
    let current = queries::get(db, id).await?.ok_or(NO_SUCH)?;
    if_match.require(&current)?;
    let mut fields = body.fields(presence)?;
    let sent = StoreFields::read(&mut fields);
    let sent = fields.finish(sent)?;
    let by = caller.audit_context();
    let written = queries::update(db, id, &sent, if_match, &by).await?;
    written.answer(NO_SUCH)
}

/// Delete a store with its stock.
#[utoipa::path(delete, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn delete(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    granted(&caller.grant.stores, id)?;
    let by = caller.audit_context();
    let deletion = db::retry(|| queries::delete(&db, id, &if_match, &by)).await?;
    deleted(deletion, NO_SUCH, "Cannot delete this store: it has orders.")
}

/// A store that is not granted is none.
fn granted(stores: &Stores, id: i64) -> Result<(), ApiError> {
    if stores.contains(id) { Ok(()) } else { Err(NO_SUCH) }
}
