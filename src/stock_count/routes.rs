//! `/api/stock-counts/`

use axum::{Extension, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands::{self, get},
    model::{Application, Entered, LineStatus, Status, StockCount, StockCountEntry, StockCountLine},
    queries,
    request::{NewApplication, NewCancellation, NewEntries, NewStockCount},
    sheet,
};
use crate::{
    auth::{Area, Scope, Stores},
    http::{
        Answered, ApiError, AppState, Body, Caller, CommandContext, CursorPage, ExistingRecords, Invalid,
        InvalidParameter, Json, ListRequest, NotFound, Params, Reads, RecordId, StateConflict, api_route,
    },
};

/// The routes of stock counts.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(list, create), Area::Inventory))
        .routes(api_route(routes!(retrieve), Area::Inventory))
        .routes(api_route(routes!(lines, enter), Area::Inventory))
        .routes(api_route(routes!(entries), Area::Inventory))
        .routes(api_route(routes!(apply), Area::Inventory))
        .routes(api_route(routes!(cancel), Area::Inventory))
}

/// List stock counts, newest first.
#[utoipa::path(get, path = "/api/stock-counts/", tag = "Stock counts", operation_id = "list_stock_counts",
    params(
        ("store_id" = Option<i64>, Query, description = "Only stock counts of this store"),
        ("status" = Option<String>, Query, description = "Only with this status: `OPEN`, `APPLIED` or `CANCELLED`"),
        ("reference" = Option<String>, Query, description = "Only with this reference"),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses((status = 200, body = CursorPage<StockCount>), (status = 400, response = InvalidParameter)))]
async fn list(
    Reads(db): Reads,
    stores: Stores,
    mut params: Params,
    list: ListRequest<StockCount>,
) -> Result<Json<CursorPage<StockCount>>, ApiError> {
    let filter = queries::Filter {
        stores: stores.intersect(params.id("store_id")),
        status: params.choice("status", &Status::NAMES),
        reference: params.text("reference"),
    };
    let filter = params.finish(filter)?;
    let rows = queries::list(&db, &filter, list.key()?).await?;
    Ok(Json(list.answer_by_cursor(rows)))
}

/// Begin a stock count.
///
/// The store goes on selling while it is counted.
#[utoipa::path(post, path = "/api/stock-counts/", tag = "Stock counts", operation_id = "create_stock_count", request_body = NewStockCount,
    responses((status = 201, body = StockCount), (status = 400, response = Invalid)))]
async fn create(context: CommandContext, body: Body) -> Result<(StatusCode, Json<StockCount>), ApiError> {
    let created = commands::create(&context, &body).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Get a stock count.
#[utoipa::path(get, path = "/api/stock-counts/{id}/", tag = "Stock counts", operation_id = "get_stock_count", params(("id" = i64, Path)),
    responses((status = 200, body = StockCount), (status = 404, response = NotFound)))]
async fn retrieve(
    Reads(db): Reads,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<StockCount>, ApiError> {
    get(&db, &stores, id).await.map(Json)
}

/// List the lines of a stock count, by product.
///
/// They include the stock of its scope that was not counted. While a blind stock count is open, `expected`, `variance` and
/// `variance_value` are null, except with `show_expected=true`, which needs the scope `stats`.
#[utoipa::path(get, path = "/api/stock-counts/{id}/lines/", tag = "Stock counts", operation_id = "list_stock_count_lines",
    params(
        ("id" = i64, Path),
        ("status" = Option<String>, Query, description = "Only lines with this status: `UNCOUNTED`, `COUNTED`, `APPLIED`, `SUPERSEDED` or `FAILED`"),
        ("show_expected" = Option<String>, Query, description = "`true` shows the expected units of an open blind stock count"),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses((status = 200, body = CursorPage<StockCountLine>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn lines(
    Reads(db): Reads,
    stores: Stores,
    caller: Caller,
    RecordId(id): RecordId,
    mut params: Params,
    list: ListRequest<StockCountLine>,
) -> Result<Json<CursorPage<StockCountLine>>, ApiError> {
    let count = get(&db, &stores, id).await?;
    let shows_expected = params.is_true("show_expected");
    if shows_expected {
        caller.require_scope(Scope::Stats)?;
    }
    let filter = sheet::Filter {
        status: params.choice("status", &LineStatus::NAMES),
        is_blind: count.blind && count.status == Status::Open && !shows_expected,
    };
    let filter = params.finish(filter)?;
    let rows = sheet::list(&db, &count, &filter, list.key()?).await?;
    Ok(Json(list.answer_by_cursor(rows)))
}

/// Enter what was counted.
///
/// Entries about a product take effect in the sequence of their `counted_at`: one with `add` is added to what was counted before,
/// any other replaces it. All are kept. A line that is applied takes no more entries.
#[utoipa::path(post, path = "/api/stock-counts/{id}/lines/", tag = "Stock counts", operation_id = "enter_stock_count_lines", params(("id" = i64, Path)),
    request_body = NewEntries,
    responses(
        (status = 200, body = Entered),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The stock count is not open, or a line is applied. Nothing was entered."),
    ))]
async fn enter(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<Entered>, ApiError> {
    commands::enter(&context, id, &body).await
}

/// List what people entered, by product.
#[utoipa::path(get, path = "/api/stock-counts/{id}/entries/", tag = "Stock counts", operation_id = "list_stock_count_entries",
    params(
        ("id" = i64, Path),
        ("product_id" = Option<i64>, Query, description = "Only entries about this product"),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses((status = 200, body = CursorPage<StockCountEntry>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn entries(
    Reads(db): Reads,
    stores: Stores,
    RecordId(id): RecordId,
    mut params: Params,
    list: ListRequest<StockCountEntry>,
) -> Result<Json<CursorPage<StockCountEntry>>, ApiError> {
    get(&db, &stores, id).await?;
    let product = params.id("product_id");
    let product = params.finish(product)?;
    let rows = sheet::entries(&db, id, product, list.key()?).await?;
    Ok(Json(list.answer_by_cursor(rows)))
}

/// Apply what was counted.
///
/// Adds to each quantity what was counted beyond the units that were on hand when they were counted: units that were sold before
/// or after stay sold. Lines are applied in transactions of up to 500, and are final; `applied`, `failed` and `superseded` are those
/// of the whole stock count. With `partial`, apply it again: after the failed lines were counted again, or at once if there are
/// more lines than a request applies.
#[utoipa::path(post, path = "/api/stock-counts/{id}/apply/", tag = "Stock counts", operation_id = "apply_stock_count", params(("id" = i64, Path)),
    request_body = NewApplication,
    responses(
        (status = 200, body = Application),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The stock count is cancelled, or has another version. Nothing was changed."),
    ))]
async fn apply(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<Application>, ApiError> {
    commands::apply(&context, id, &body).await
}

/// Cancel a stock count.
///
/// Nothing more of it is applied. What was applied before stays.
#[utoipa::path(post, path = "/api/stock-counts/{id}/cancel/", tag = "Stock counts", operation_id = "cancel_stock_count", params(("id" = i64, Path)),
    request_body = NewCancellation,
    responses(
        (status = 200, body = StockCount),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The stock count is not open, or has another version. Nothing was changed."),
    ))]
async fn cancel(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<(Extension<ExistingRecords>, Answered<StockCount>), ApiError> {
    let cancelled = commands::cancel(&context, id, &body).await?;
    Ok((Extension(ExistingRecords), cancelled))
}
