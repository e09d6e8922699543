//! `/api/orders/`

use axum::{Extension, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    change, commands,
    data::DataChanges,
    document,
    filter::Filter,
    group_commit::GroupCommit,
    model::{Order, PlacedOrder, Stats},
    queries,
    request::OrderRequest,
    reservation,
    row::OrderRow,
    search::{self, Search},
};
use crate::{
    auth::{Area, Stores},
    db::ReadPool,
    http::{
        Answered, ApiError, AppState, Body, CommandContext, ConflictCode, Counted, ExistingRecords, IfMatch,
        Invalid, InvalidOrder, InvalidParameter, Json, ListParams, ListRequest, Listing, NotFound, PageQuery,
        Params, Reads, RecordId, ScanLimit, StateConflict, Tagged, api_route,
    },
    timespan::{Range, Table},
    timestamp::Timestamp,
};

/// The route of new orders, which wait in the queue of the placement: `RouteClass::QueuedWrites`.
pub fn placement_router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(api_route(routes!(list, create), Area::Orders))
}

/// The other routes of orders.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(stats), Area::Stats))
        .routes(api_route(routes!(retrieve, patch), Area::Order))
        .routes(api_route(routes!(redact), Area::Privacy))
        .merge(document::router())
        .merge(reservation::router())
}

/// List orders, newest first.
///
/// With `external_reference`, `customer`, `created_from`, `created_to`, several statuses or `ordering=oldest`, the `count` ends at
/// 10,000, and `count_capped` tells whether there are more.
#[utoipa::path(get, path = "/api/orders/", tag = "Orders",
    params(
        ("store_id" = Option<i64>, Query, description = "Only orders of this store"),
        ("status" = Option<Vec<String>>, Query, explode, description = "Only orders with one of these statuses: `PENDING`, `CONFIRMED` or `REJECTED`, in any case. Other values are ignored"),
        ("external_reference" = Option<String>, Query, description = "Only orders with this reference, in any store"),
        ("customer" = Option<String>, Query, description = "Only orders of the customer with this reference, e-mail address or phone number, regardless of case"),
        ("created_from" = Option<String>, Query, description = "Only orders from this time on, in RFC 3339"),
        ("created_to" = Option<String>, Query, description = "Only orders before this time, in RFC 3339"),
        ("total_min" = Option<String>, Query, description = "Only orders with at least this total. Needs `created_from`"),
        ("total_max" = Option<String>, Query, description = "Only orders with at most this total. Needs `created_from`"),
        ("fulfillment" = Option<String>, Query, description = "Only orders with this fulfillment: `NOT_TRACKED`, `UNFULFILLED`, `PARTIAL` or `FULFILLED`. Needs `created_from`"),
        ("ordering" = Option<String>, Query, description = "`newest` (the default) or `oldest` first"),
        ("expand" = Option<String>, Query, description = "`items`: add the items of each order"),
        ListParams,
    ),
    responses((status = 200, body = Listing<OrderRow>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    Reads(db): Reads,
    stores: Stores,
    State(scans): State<ScanLimit>,
    mut params: Params,
    list: ListRequest<OrderRow>,
) -> Result<Json<Listing<OrderRow>>, ApiError> {
    let filter = Filter::read(&mut params, &stores);
    let with_items = params.choice("expand", &["items"]).is_some();
    let filter = params.finish(filter)?;
    let page = list.query()?;
    let (mut rows, is_counted) = match filter {
        Filter::Indexed { stores, status } => (queries::list(&db, stores, status, &page).await?, true),
        Filter::Search { search, from, until } => {
            let found = find(db.clone(), search.clone(), (from, until), page);
            let rows = if search.is_scan() {
                scans.run(BUSY, found).await?
            } else {
                found.await?
            };
            (rows, false)
        }
    };
    if with_items {
        queries::add_items(&db, &mut rows).await?;
    }
    let listing = if is_counted {
        list.answer(rows)
    } else {
        list.answer_capped(rows)
    };
    listing.map(Json)
}

/// The message if too many lists wait for which no index has the filter.
const BUSY: &str = "Too many lists filtered by total or fulfillment are under way, try again later.";

async fn find(
    db: ReadPool,
    search: Search,
    (from, until): (Option<Timestamp>, Option<Timestamp>),
    page: PageQuery<OrderRow>,
) -> Result<Vec<Counted<OrderRow>>, ApiError> {
    let [from, until] = [from, until].map(|time| time.map(|time| time.0));
    let range = Range::between(&db, Table::Orders, from, until).await?;
    Ok(search::list(&db, &search, range, &page).await?)
}

/// A placed order; or, with `on_duplicate=return`, the order that has the reference.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "nearly all responses are placed orders")]
pub enum PlacedOrExisting {
    /// A placed order.
    Placed(PlacedOrder),
    /// An order that was placed before.
    Existing(Box<Order>),
}

/// Place an order.
///
/// Takes all items from the stock of the store, or none.
#[utoipa::path(post, path = "/api/orders/", tag = "Orders", request_body = OrderRequest,
    params(("on_duplicate" = Option<String>, Query, description = "`return`: answer a repeated `external_reference` with 200 and the order that has it")),
    responses(
        (status = 201, description = "Confirmed: the stock was deducted", body = PlacedOrder),
        (status = 200, description = "Rejected: no stock was deducted. `rejection_reason` and `rejections` have the reason. Or, with `on_duplicate=return`, the order that has the `external_reference`", body = PlacedOrExisting),
        (status = 400, response = InvalidOrder),
        (status = 404, description = "There is no such reservation.", body = StateConflict),
        (status = 409, description = "Another order of the store, which was not rejected, has the `external_reference`; or the reservation has ended. Nothing was stored.", body = StateConflict),
    ))]
async fn create(
    Extension(placement): Extension<GroupCommit>,
    context: CommandContext,
    mut params: Params,
    body: Body,
) -> Result<(Option<Extension<ExistingRecords>>, Answered<PlacedOrExisting>), ApiError> {
    let returns = params.choice("on_duplicate", &["return"]).is_some();
    let returns = params.finish(returns)?;
    let placed = match commands::place(&placement, &context, &body).await {
        Err(ApiError::StateConflict(conflict))
            if returns && conflict.code == ConflictCode::DuplicateReference =>
        {
            let order = commands::existing(&context, conflict).await?;
            let answer = PlacedOrExisting::Existing(Box::new(order));
            let status = StatusCode::OK;
            return Ok((Some(Extension(ExistingRecords)), Answered { status, answer }));
        }
        placed => placed?,
    };
    let status = placed.status_code();
    let answer = PlacedOrExisting::Placed(placed);
    Ok((None, Answered { status, answer }))
}

/// Get an order.
#[utoipa::path(get, path = "/api/orders/{id}/", tag = "Orders", params(("id" = i64, Path)),
    responses((status = 200, body = Order), (status = 404, response = NotFound)))]
async fn retrieve(Reads(db): Reads, stores: Stores, RecordId(id): RecordId) -> Result<Json<Order>, ApiError> {
    let order = queries::get(&db, id).await?;
    order
        .filter(|order| stores.contains(order.store.id))
        .map(Json)
        .ok_or(ApiError::NotFound("Order"))
}

/// Change what clients keep with an order.
///
/// Members that are left out stay, and null removes them. Of `customer` and `metadata`, each member counts by itself.
#[utoipa::path(patch, path = "/api/orders/{id}/", tag = "Orders", params(("id" = i64, Path)), request_body = DataChanges,
    responses((status = 200, body = Order), (status = 400, response = Invalid), (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The `external_reference` is set, or another order of the store has it. Nothing was changed.")))]
async fn patch(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Order>, ApiError> {
    change::update(&context, id, &if_match, &body).await.map(Tagged)
}

/// Erase the customer and the note of an order.
///
/// Also deletes the stored response to the request that placed it. Needs an API key even while the API is open.
#[utoipa::path(post, path = "/api/orders/{id}/redact/", tag = "Orders", params(("id" = i64, Path)),
    responses((status = 200, body = Order), (status = 404, response = NotFound)))]
async fn redact(context: CommandContext, RecordId(id): RecordId) -> Result<Json<Order>, ApiError> {
    change::redact(&context, id).await.map(Json)
}

/// Order statistics.
#[utoipa::path(get, path = "/api/orders/stats/", tag = "Orders",
    params(("store_id" = Option<i64>, Query, description = "Only orders of this store")),
    responses((status = 200, body = Stats), (status = 400, response = InvalidParameter)))]
async fn stats(Reads(db): Reads, stores: Stores, mut params: Params) -> Result<Json<Stats>, ApiError> {
    let wanted = stores.intersect(params.id("store_id"));
    let wanted = params.finish(wanted)?;
    Ok(Json(queries::stats(&db, wanted.as_deref()).await?))
}
