//! `/api/orders/`

use axum::{Extension, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands,
    group_commit::GroupCommit,
    model::{Filter, NewOrder, Order, OrderRow, PlacedOrder, Stats, Status},
    queries,
};
use crate::{
    auth::{Area, Stores},
    http::{
        ApiError, AppState, Body, CommandContext, InvalidOrder, InvalidParameter, Json, ListParams,
        ListRequest, Listing, NotFound, Params, Reads, RecordId, api_route,
    },
};

/// The route of new orders, which wait in the queue of the placement: `RouteClass::QueuedWrites`.
pub fn placement_router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(api_route(routes!(list, create), Area::Orders))
}

/// The other routes of orders.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(stats), Area::Stats))
        .routes(api_route(routes!(retrieve), Area::Orders))
}

/// List orders, newest first.
#[utoipa::path(get, path = "/api/orders/", tag = "Orders",
    params(
        ("store_id" = Option<i64>, Query, description = "Only orders of this store"),
        ("status" = Option<String>, Query, description = "Only orders with this status: `PENDING`, `CONFIRMED` or `REJECTED`, in any case. Other values are ignored"),
        ListParams,
    ),
    responses((status = 200, body = Listing<OrderRow>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    Reads(db): Reads,
    stores: Stores,
    mut params: Params,
    list: ListRequest<OrderRow>,
) -> Result<Json<Listing<OrderRow>>, ApiError> {
    let status = params.get("status").and_then(Status::parse);
    let filter = Filter {
        stores: stores.intersect(params.id("store_id")),
        status,
    };
    let filter = params.finish(filter)?;
    let rows = queries::list(&db, &filter, &list.query()?).await?;
    list.answer(rows).map(Json)
}

/// Place an order.
///
/// Takes all items from the stock of the store, or none.
#[utoipa::path(post, path = "/api/orders/", tag = "Orders", request_body = NewOrder,
    responses(
        (status = 201, description = "Confirmed: the stock was deducted", body = PlacedOrder),
        (status = 200, description = "Rejected: no stock was deducted. `rejection_reason` and `rejections` have the reason", body = PlacedOrder),
        (status = 400, response = InvalidOrder),
    ))]
async fn create(
    Extension(placement): Extension<GroupCommit>,
    context: CommandContext,
    body: Body,
) -> Result<(StatusCode, Json<PlacedOrder>), ApiError> {
    let placed = commands::place(&placement, &context, &body).await?;
    Ok((placed.status_code(), Json(placed)))
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

/// Order statistics.
#[utoipa::path(get, path = "/api/orders/stats/", tag = "Orders",
    params(("store_id" = Option<i64>, Query, description = "Only orders of this store")),
    responses((status = 200, body = Stats), (status = 400, response = InvalidParameter)))]
async fn stats(Reads(db): Reads, stores: Stores, mut params: Params) -> Result<Json<Stats>, ApiError> {
    let wanted = stores.intersect(params.id("store_id"));
    let wanted = params.finish(wanted)?;
    Ok(Json(queries::stats(&db, wanted.as_deref()).await?))
}
