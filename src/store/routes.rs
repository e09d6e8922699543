//! `/api/stores/`

use axum::{Json, extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    model::{Store, StoreFields},
    queries,
};
use crate::{
    database,
    web::{
        AppState, Body, Conflict, Invalid, InvalidParameter, ListParams, ListRequest, Listing, NotFound,
        Once, Presence, Problem, RecordId, deleted, endpoint,
    },
};

const NO_SUCH: Problem = Problem::NoSuch("Store");

/// The routes of stores.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(endpoint(routes!(list, create), "GET, POST, HEAD, OPTIONS"))
        .routes(endpoint(
            routes!(retrieve, replace, patch, delete),
            "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
        ))
}

/// Active stores, by name.
#[utoipa::path(get, path = "/api/stores/", tag = "Stores", params(ListParams),
    responses((status = 200, body = Listing<Store>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(State(db): State<PgPool>, list: ListRequest<Store>) -> Result<Json<Listing<Store>>, Problem> {
    let slice = list.slice(queries::count(&db)).await?;
    let rows = queries::list(&db, &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Create a store.
#[utoipa::path(post, path = "/api/stores/", tag = "Stores", request_body = StoreFields,
    responses((status = 201, body = Store), (status = 400, response = Invalid)))]
async fn create(
    State(db): State<PgPool>,
    once: Once,
    body: Body,
) -> Result<(StatusCode, Json<Store>), Problem> {
    let mut fields = body.fields(Presence::Complete)?;
    let sent = StoreFields::read(&mut fields);
    let sent = fields.finish(sent)?;
    let mut tx = db.begin().await?;
    let store = queries::insert(&mut *tx, &sent).await?;
    once.commit(tx, StatusCode::CREATED, store).await
}

/// One store, active or not.
#[utoipa::path(get, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)),
    responses((status = 200, body = Store), (status = 404, response = NotFound)))]
async fn retrieve(State(db): State<PgPool>, RecordId(id): RecordId) -> Result<Json<Store>, Problem> {
    queries::get(&db, id).await?.map(Json).ok_or(NO_SUCH)
}

/// Write a store.
#[utoipa::path(put, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)), request_body = StoreFields,
    responses((status = 200, body = Store), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn replace(State(db): State<PgPool>, id: RecordId, body: Body) -> Result<Json<Store>, Problem> {
    update(&db, id, &body, Presence::Complete).await
}

/// Write what is sent of a store.
#[utoipa::path(patch, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)), request_body = StoreFields,
    responses((status = 200, body = Store), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
async fn patch(State(db): State<PgPool>, id: RecordId, body: Body) -> Result<Json<Store>, Problem> {
    update(&db, id, &body, Presence::Partial).await
}

async fn update(
    db: &PgPool,
    RecordId(id): RecordId,
    body: &Body,
    presence: Presence,
) -> Result<Json<Store>, Problem> {
    if !queries::exists(db, id).await? {
        return Err(NO_SUCH);
    }
    let mut fields = body.fields(presence)?;
    let sent = StoreFields::read(&mut fields);
    let sent = fields.finish(sent)?;
    queries::update(db, id, &sent).await?.map(Json).ok_or(NO_SUCH)
}

/// Delete a store with its stock.
#[utoipa::path(delete, path = "/api/stores/{id}/", tag = "Stores", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn delete(State(db): State<PgPool>, RecordId(id): RecordId) -> Result<StatusCode, Problem> {
    let deletion = database::retry(|| queries::delete(&db, id)).await?;
    deleted(deletion, NO_SUCH, "Cannot delete this store: it has orders.")
}
