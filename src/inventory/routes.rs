//! `/api/inventory/`

use axum::{extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    adjustment::{Adjustments, NewAdjustments},
    as_of::{self, StockAsOf},
    commands::{self, granted},
    explain::{self, Explanation},
    lookup,
    model::{Filter, Inventory, InventoryFields, InventoryRow},
    movement::{Movement, NewMovement},
    movement_queries, movement_search, queries,
    reversal::{NewReversal, Reversal},
};
use crate::{
    auth::{Area, Stores},
    http::{
        Answered, ApiError, AppState, Body, CommandContext, CursorPage, IfMatch, Invalid, InvalidParameter,
        Json, ListParams, ListRequest, Listing, NotFound, Params, Presence, Reads, RecordId, Refused,
        ScanLimit, Tagged, api_route,
    },
    ledger,
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
        .routes(api_route(routes!(list_as_of), Area::Inventory))
        .routes(api_route(routes!(search_movements), Area::Inventory))
        .routes(api_route(routes!(explain_quantity), Area::Inventory))
        .routes(api_route(routes!(reverse), Area::Inventory))
}

/// List stock, sorted by store name and product title.
///
/// With `counted_before`, the rows are counted anew: `count` is at most 10,000, and `count_capped` tells whether there are more.
#[utoipa::path(get, path = "/api/inventory/", tag = "Inventory",
    params(
        ("store_id" = Option<i64>, Query, description = "Only stock of this store"),
        ("product_id" = Option<i64>, Query, description = "Only stock of this product"),
        ("low_stock" = Option<String>, Query, description = "`true`: only low stock. Other values are ignored"),
        ("counted_before" = Option<String>, Query, description = "Only stock whose quantity was not set or counted since this time", format = DateTime),
        ListParams,
    ),
    responses((status = 200, body = Listing<InventoryRow>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    Reads(db): Reads,
    State(scans): State<ScanLimit>,
    stores: Stores,
    mut params: Params,
    list: ListRequest<InventoryRow>,
) -> Result<Json<Listing<InventoryRow>>, ApiError> {
    let filter = Filter {
        stores: stores.intersect(params.id("store_id")),
        product_id: params.id("product_id"),
        low_stock: params.is_true("low_stock"),
        counted_before: params.time("counted_before"),
    };
    let filter = params.finish(filter)?;
    let query = list.query()?;
    if !filter.counts_anew() {
        return list.answer(queries::list(&db, &filter, &query).await?).map(Json);
    }
    let scan = async move { Ok(queries::list(&db, &filter, &query).await?) };
    list.answer_capped(scans.run(BUSY, scan).await?).map(Json)
}

/// The message if too many lists wait for which no index has the filter.
const BUSY: &str = "Too many lists with counted_before are under way, try again later.";

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
    responses(
        (status = 204),
        (status = 404, response = NotFound),
        (status = 409, body = Refused, description = "Units are reserved or committed."),
    ))]
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

/// List stock as it was at a time, sorted by store and product.
///
/// Lists the stock rows that exist now. A row that did not exist then, or belonged to another store or product, has a quantity of
/// 0. Times before detached history are refused.
#[utoipa::path(get, path = "/api/inventory/as-of/", tag = "Inventory",
    params(
        ("at" = String, Query, description = "The time, such as `2024-01-15T10:30:00Z`", format = DateTime),
        ("store_id" = Option<i64>, Query, description = "Only stock of this store"),
        ("product_id" = Option<i64>, Query, description = "Only stock of this product"),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses(
        (status = 200, body = CursorPage<StockAsOf>, example = json!({ "next": null, "results": [
            { "id": 7, "store_id": 1, "store_name": "Main", "product_id": 3, "product_title": "Lamp", "quantity": 40, "on_hand": 40 },
        ] })),
        (status = 400, response = InvalidParameter),
    ))]
async fn list_as_of(
    Reads(db): Reads,
    stores: Stores,
    mut params: Params,
    list: ListRequest<StockAsOf>,
) -> Result<Json<CursorPage<StockAsOf>>, ApiError> {
    let (at, stores) = (params.time("at"), stores.intersect(params.id("store_id")));
    let product_id = params.id("product_id");
    let at = params.finish(at)?;
    let filter = as_of::Filter {
        at: at.ok_or_else(|| ApiError::field("at", "This field is required."))?,
        stores,
        product_id,
    };
    let rows = as_of::list(&db, &filter, list.key()?).await?;
    Ok(Json(list.answer_by_cursor(rows)))
}

/// List the movements of all stock, newest first.
///
/// A request examines a limited number of movements: a page may have fewer rows than 20, even none, while `next` is not null.
#[utoipa::path(get, path = "/api/inventory/movements/", tag = "Inventory",
    params(
        ("store_id" = Option<i64>, Query, description = "Only movements of stock in this store"),
        ("product_id" = Option<i64>, Query, description = "Only movements of stock of this product"),
        ("kind" = Option<String>, Query, description = "Only movements of this kind, such as `ADJUSTMENT`"),
        ("reference" = Option<String>, Query, description = "Only movements with this reference of the client"),
        ("actor" = Option<String>, Query, description = "Only movements by this actor, such as `key:12`"),
        ("from" = Option<String>, Query, description = "Only movements from this time on, such as `2024-01-15T10:30:00Z`", format = DateTime),
        ("to" = Option<String>, Query, description = "Only movements before this time", format = DateTime),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses(
        (status = 200, body = CursorPage<Movement>, example = json!({ "next": null, "results": [
            { "id": 18, "inventory_id": 7, "kind": "ADJUSTMENT", "delta": 24, "quantity_after": 64, "order_id": null, "actor": "key:12",
              "reason": null, "reason_code": "RECEIVED", "reference": "GRN-4711", "created_at": "2024-01-15T10:30:00.123456Z",
              "store_id": 1, "product_id": 3, "reversed_by": null },
        ] })),
        (status = 400, response = InvalidParameter),
    ))]
async fn search_movements(
    Reads(db): Reads,
    stores: Stores,
    mut params: Params,
    list: ListRequest<Movement>,
) -> Result<Json<CursorPage<Movement>>, ApiError> {
    let filter = movement_search::Filter {
        stores: stores.intersect(params.id("store_id")),
        product_id: params.id("product_id"),
        kind: params.choice("kind", &ledger::KINDS),
        reference: params.text("reference"),
        actor: params.text("actor"),
        from: params.time("from"),
        until: params.time("to"),
    };
    let filter = params.finish(filter)?;
    let (rows, next) = movement_search::search(&db, filter, list.key()?).await?;
    Ok(Json(list.cursor_page(rows, next.as_ref())))
}

/// Explain a quantity by the sums of its movements.
#[utoipa::path(get, path = "/api/inventory/{id}/explain/", tag = "Inventory", params(("id" = i64, Path)),
    responses((status = 200, body = Explanation), (status = 404, response = NotFound)))]
async fn explain_quantity(
    Reads(db): Reads,
    State(scans): State<ScanLimit>,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Explanation>, ApiError> {
    granted(&db, &stores, id).await?;
    explain::explain(db, &scans, id).await.map(Json)
}

/// Reverse adjustments, counts and imports.
///
/// Each stock row gets one movement of kind `REVERSAL` with the opposite sum of its reversed movements. A movement is reversed
/// once. If a movement cannot be reversed, nothing is written.
#[utoipa::path(post, path = "/api/inventory/reversals/", tag = "Inventory",
    request_body(content = NewReversal, examples(
        ("by id" = (value = json!({ "movement_ids": [18, 19], "reason": "Entered twice" }))),
        ("by reference" = (value = json!({ "reference": "GRN-4711", "reason": "Delivery was sent back" }))),
    )),
    responses(
        (status = 201, body = Reversal, example = json!({ "results": [
            { "movement_id": 20, "inventory_id": 7, "quantity_before": 64, "quantity_after": 40, "reverses": [18] },
        ] })),
        (status = 400, response = Invalid),
        (status = 409, body = Refused, description = "A movement is reversed already, or a quantity would be below 0, below the reserved units or above 2147483647. Nothing was changed.", examples(
            ("reversed already" = (value = json!({ "detail": "The movement is reversed already.", "code": "already_reversed", "movement_id": 18 }))),
            ("too few units" = (value = json!({ "detail": "There are fewer units in stock.", "code": "insufficient_stock", "quantity": 3, "inventory_id": 7 }))),
            ("reserved units" = (value = json!({ "detail": "The quantity would fall below the reserved units.", "code": "reserved", "quantity": 30, "reserved": 10, "inventory_id": 7 }))),
            ("too many units" = (value = json!({ "detail": "The quantity would exceed 2147483647.", "code": "exceeds_quantity", "quantity": 2_147_483_640, "inventory_id": 7 }))),
        )),
    ))]
async fn reverse(context: CommandContext, body: Body) -> Result<Answered<Reversal>, ApiError> {
    commands::reverse(&context, &body).await
}
