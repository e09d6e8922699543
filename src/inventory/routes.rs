//! `/api/inventory/`

use axum::{Json, extract::State, http::StatusCode};
use sqlx::{PgPool, Postgres, Transaction};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    model::{Filter, Inventory, InventoryFields, InventoryRow},
    movements, queries,
};
use crate::{
    audit::AuditContext,
    auth::{Area, Stores},
    db::{self, violated_constraint},
    http::{
        ApiError, AppState, Body, Caller, Conflict, Fields, IdempotencyKey, IfMatch, Invalid,
        InvalidParameter, ListParams, ListRequest, Listing, NotFound, Params, Presence, RecordId, Tagged,
        deleted, endpoint,
    },
    product, store,
};

const NO_SUCH: ApiError = ApiError::NotFound("Inventory");

/// The routes of inventory.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(endpoint(
            routes!(list, create),
            "GET, POST, HEAD, OPTIONS",
            Area::Inventory,
        ))
        .routes(endpoint(
            routes!(retrieve, replace, patch, delete),
            "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
            Area::Inventory,
        ))
        .routes(endpoint(
            routes!(movements::list, movements::create),
            "GET, POST, HEAD, OPTIONS",
            Area::Inventory,
        ))
}

/// All stock, by store name and product title.
#[utoipa::path(get, path = "/api/inventory/", tag = "Inventory",
    params(
        ("store_id" = Option<i64>, Query, description = "Only this store"),
        ("product_id" = Option<i64>, Query, description = "Only this product"),
        ("low_stock" = Option<String>, Query, description = "`true`: only low stock; anything else is ignored"),
        ListParams,
    ),
    responses((status = 200, body = Listing<InventoryRow>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    State(db): State<PgPool>,
    stores: Stores,
    mut params: Params,
    list: ListRequest<InventoryRow>,
) -> Result<Json<Listing<InventoryRow>>, ApiError> {
    let filter = Filter {
        stores: stores.intersect(params.id("store_id")),
        product_id: params.id("product_id"),
        low_stock: params.is_true("low_stock"),
    };
    let filter = params.finish(filter)?;
    let slice = list.slice(queries::count(&db, &filter)).await?;
    let rows = queries::list(&db, &filter, &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Create the stock of a product in a store.
#[utoipa::path(post, path = "/api/inventory/", tag = "Inventory", request_body = InventoryFields,
    responses((status = 201, body = Inventory), (status = 400, response = Invalid)))]
async fn create(
    State(db): State<PgPool>,
    caller: Caller,
    once: IdempotencyKey,
    body: Body,
) -> Result<(StatusCode, Json<Inventory>), ApiError> {
    let mut fields = body.fields(Presence::Complete)?;
    let sent = read(&db, &caller.grant.stores, &mut fields).await?;
    let sent = fields.finish(sent)?;
    let by = caller.audit_context();
    let begun = db::retry(|| begin(&db, &sent, &by)).await;
    let (tx, inventory) = begun.map_err(|error| refused(error, &sent))?;
    let inventory = inventory.ok_or(NO_SUCH)?;
    once.commit(tx, StatusCode::CREATED, inventory).await
}

/// Begins a transaction, and creates stock in it. It may fall victim to deletions, which wait for the same product.
async fn begin(
    db: &PgPool,
    sent: &InventoryFields,
    by: &AuditContext,
) -> sqlx::Result<(Transaction<'static, Postgres>, Option<Inventory>)> {
    let mut tx = db.begin().await?;
    let created = queries::insert(&mut tx, sent, by).await?;
    Ok((tx, created))
}

/// The stock of one product in one store.
#[utoipa::path(get, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)),
    responses((status = 200, body = Inventory), (status = 404, response = NotFound)))]
async fn retrieve(
    State(db): State<PgPool>,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Inventory>, ApiError> {
    granted(&db, &stores, id).await.map(Json)
}

/// Write stock: quantity and threshold keep their values when they are left out. Stock that orders refer to stays with its
/// store and product.
#[utoipa::path(put, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)), request_body = InventoryFields,
    responses((status = 200, body = Inventory), (status = 400, response = Invalid), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn replace(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Inventory>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Complete).await
}

/// Write what is sent of stock. Stock that orders refer to stays with its store and product.
#[utoipa::path(patch, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)), request_body = InventoryFields,
    responses((status = 200, body = Inventory), (status = 400, response = Invalid), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
async fn patch(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    id: RecordId,
    body: Body,
) -> Result<Tagged<Inventory>, ApiError> {
    update(&db, &caller, &if_match, id, &body, Presence::Partial).await
}

async fn update(
    db: &PgPool,
    caller: &Caller,
    if_match: &IfMatch,
    RecordId(id): RecordId,
    body: &Body,
    presence: Presence,
) -> Result<Tagged<Inventory>, ApiError> {
    let current = granted(db, &caller.grant.stores, id).await?;
    if_match.require(&current)?;
    let mut fields = body.fields(presence)?;
    let sent = read(db, &caller.grant.stores, &mut fields).await?;
    let sent = fields.finish(sent)?;
    let written = db::retry(|| queries::update(db, id, &sent, if_match, caller)).await;
    written.map_err(|error| refused(error, &sent))?.answer(NO_SUCH)
}

/// Delete stock, what is left of it included.
#[utoipa::path(delete, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound)))]
async fn delete(
    State(db): State<PgPool>,
    caller: Caller,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    let deletion = db::retry(|| queries::delete(&db, id, &if_match, &caller)).await?;
    deleted(deletion, NO_SUCH, "Cannot delete this stock.")
}

/// A row, if the caller may see it.
pub(super) async fn granted(db: &PgPool, stores: &Stores, id: i64) -> Result<Inventory, ApiError> {
    let row = queries::get(db, id).await?;
    row.filter(|row| stores.contains(row.store.id)).ok_or(NO_SUCH)
}

/// Reads the fields and looks up what they refer to. A store that is not granted is none.
async fn read(db: &PgPool, stores: &Stores, fields: &mut Fields<'_>) -> sqlx::Result<InventoryFields> {
    let sent = InventoryFields::read(fields);
    if let Some(reference) = &sent.store_id
        && !(stores.contains(reference.id) && store::exists(db, reference.id).await?)
    {
        fields.reject("store_id", reference.missing());
    }
    if let Some(reference) = &sent.product_id
        && !product::exists(db, reference.id).await?
    {
        fields.reject("product_id", reference.missing());
    }
    Ok(sent)
}

/// The pair may be taken; store or product may have gone since they were looked up.
fn refused(error: sqlx::Error, sent: &InventoryFields) -> ApiError {
    match (violated_constraint(&error), &sent.store_id, &sent.product_id) {
        (Some("inventory_store_product_key"), ..) => {
            ApiError::non_field("The fields store_id, product_id must make a unique set.")
        }
        (Some("inventory_store_id_fkey"), Some(store), _) => ApiError::field("store_id", store.missing()),
        (Some("inventory_product_id_fkey"), _, Some(product)) => {
            ApiError::field("product_id", product.missing())
        }
        _ => error.into(),
    }
}
