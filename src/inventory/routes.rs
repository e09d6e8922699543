//! `/api/inventory/`

use axum::{extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    adjustment::{Adjustments, NewAdjustments},
    commands::{self, granted},
    lookup,
    model::{Filter, Inventory, InventoryFields, InventoryRow},
    movement::{Movement, NewMovement},
    movement_queries, queries,
};
use crate::{
    auth::{Area, Stores},
    http::{
        Answered, ApiError, AppState, Body, CommandContext, IfMatch, Invalid, InvalidParameter, Json,
        ListParams, ListRequest, Listing, NotFound, Params, Presence, Reads, RecordId, Refused, Tagged,
        api_route,
    },
};

/// The routes of inventory.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(lookup::lookup), Area::Catalog))
        .routes(api_route(routes!(list, create), Area::Inventory))
        .routes(api_route(
            routes!(retrieve, replace, patch, delete),
            Area::Inventory,
        ))
        .routes(api_route(routes!(adjust_many), Area::Inventory))
        .routes(api_route(routes!(movements, adjust), Area::Inventory))
}

/// List stock, sorted by store name and product title.
#[utoipa::path(get, path = "/api/inventory/", tag = "Inventory",
    params(
        ("store_id" = Option<i64>, Query, description = "Only stock of this store"),
        ("product_id" = Option<i64>, Query, description = "Only stock of this product"),
        ("low_stock" = Option<String>, Query, description = "`true`: only low stock. Other values are ignored"),
        ListParams,
    ),
    responses((status = 200, body = Listing<InventoryRow>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    Reads(db): Reads,
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
    let rows = queries::list(&db, &filter, &list.query()?).await?;
    list.answer(rows).map(Json)
}

/// Add a product to a store.
#[utoipa::path(post, path = "/api/inventory/", tag = "Inventory", request_body = InventoryFields,
    responses((status = 201, body = Inventory), (status = 400, response = Invalid)))]
async fn create(context: CommandContext, body: Body) -> Result<(StatusCode, Json<Inventory>), ApiError> {
    let inventory = commands::create(&context, &body).await?;
    Ok((StatusCode::CREATED, Json(inventory)))
}

/// Get the stock of a product in a store.
#[utoipa::path(get, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)),
    responses((status = 200, body = Inventory), (status = 404, response = NotFound)))]
async fn retrieve(
    Reads(db): Reads,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Inventory>, ApiError> {
    granted(&db, &stores, id).await.map(Json)
}

/// Replace the stock of a product in a store.
///
/// Quantity and threshold keep their values if they are omitted. Store and product cannot change if orders refer to the stock.
#[utoipa::path(put, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)), request_body = InventoryFields,
    responses((status = 200, body = Inventory), (status = 400, response = Invalid), (status = 404, response = NotFound), (status = 409, body = Refused, description = "Orders refer to the stock, or the quantity is not the expected one. Nothing was changed.")))]
async fn replace(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Inventory>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Complete).await?;
    Ok(Tagged(written))
}

/// Partially update the stock of a product in a store.
///
/// Store and product cannot change if orders refer to the stock.
#[utoipa::path(patch, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)), request_body = InventoryFields,
    responses((status = 200, body = Inventory), (status = 400, response = Invalid), (status = 404, response = NotFound), (status = 409, body = Refused, description = "Orders refer to the stock, or the quantity is not the expected one. Nothing was changed.")))]
async fn patch(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Inventory>, ApiError> {
    let written = commands::update(&context, id, &if_match, &body, Presence::Partial).await?;
    Ok(Tagged(written))
}

/// Remove a product from a store, with its remaining quantity.
#[utoipa::path(delete, path = "/api/inventory/{id}/", tag = "Inventory", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, response = NotFound)))]
async fn delete(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
) -> Result<StatusCode, ApiError> {
    commands::delete(&context, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List stock movements, newest first.
#[utoipa::path(get, path = "/api/inventory/{id}/movements/", tag = "Inventory", params(("id" = i64, Path), ListParams),
    responses((status = 200, body = Listing<Movement>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn movements(
    Reads(db): Reads,
    State(pool): State<PgPool>,
    stores: Stores,
    RecordId(id): RecordId,
    list: ListRequest<Movement>,
) -> Result<Json<Listing<Movement>>, ApiError> {
    granted(&db, &stores, id).await?;
    let rows = movement_queries::list(&db, &pool, id, &list.query()?).await?;
    list.answer(rows).map(Json)
}

/// Adjust a quantity: receive, remove or set a count.
#[utoipa::path(post, path = "/api/inventory/{id}/movements/", tag = "Inventory", operation_id = "move", params(("id" = i64, Path)), request_body = NewMovement,
    responses((status = 201, body = Movement), (status = 400, response = Invalid), (status = 404, response = NotFound), (status = 409, body = Refused, description = "The quantity is not the expected one. Nothing was changed.")))]
async fn adjust(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<Movement>, ApiError> {
    commands::adjust(&context, id, &body).await
}

/// Adjust up to 1,000 quantities.
///
/// Each item adds or removes units, or compares and sets a quantity.
#[utoipa::path(post, path = "/api/inventory/adjustments/", tag = "Inventory", request_body = NewAdjustments,
    responses(
        (status = 200, description = "All items were applied; or, with `per_item`, those that have not failed", body = Adjustments),
        (status = 400, response = Invalid),
        (status = 409, description = "An item failed, and nothing was written", body = Adjustments),
    ))]
async fn adjust_many(context: CommandContext, body: Body) -> Result<Answered<Adjustments>, ApiError> {
    commands::adjust_many(&context, &body).await
}
