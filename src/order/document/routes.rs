//! `/api/orders/{id}/cancellations/`, `fulfillments/`, `returns/` and `timeline/`

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands::{DocumentAnswer, NO_SUCH, add},
    kind::Kind,
    request::{NewCancellation, NewFulfillment, NewReturn},
    timeline::{self, Timeline},
};
use crate::{
    auth::{Area, Stores},
    http::{
        Answered, ApiError, AppState, Body, CommandContext, Invalid, Json, NotFound, Reads, RecordId,
        StateConflict, api_route,
    },
    order::queries,
};

/// The routes of documents.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(cancel), Area::Order))
        .routes(api_route(routes!(fulfill), Area::Order))
        .routes(api_route(routes!(take_back), Area::Order))
        .routes(api_route(routes!(read_timeline), Area::Order))
}

/// Cancel units of an order.
///
/// Cancels units that were not handed over, or in a store that does not track this, that were not returned. An order of which all
/// units are cancelled has the status `CANCELLED`, and its confirmation is not sent any more.
#[utoipa::path(post, path = "/api/orders/{id}/cancellations/", tag = "Orders", params(("id" = i64, Path)),
    request_body = NewCancellation,
    responses(
        (status = 201, body = DocumentAnswer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The order does not permit it, or has fewer units left. Nothing was changed."),
    ))]
async fn cancel(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<DocumentAnswer>, ApiError> {
    add(&context, id, &body, Kind::Cancellation).await
}

/// Hand over units of an order.
///
/// Only for orders that were placed while their store had the `fulfillment` `TRACKED`.
#[utoipa::path(post, path = "/api/orders/{id}/fulfillments/", tag = "Orders", params(("id" = i64, Path)),
    request_body = NewFulfillment,
    responses(
        (status = 201, body = DocumentAnswer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The order does not permit it, or has fewer units left. Nothing was changed."),
    ))]
async fn fulfill(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<DocumentAnswer>, ApiError> {
    add(&context, id, &body, Kind::Fulfillment).await
}

/// Take back units of an order.
#[utoipa::path(post, path = "/api/orders/{id}/returns/", tag = "Orders", params(("id" = i64, Path)), request_body = NewReturn,
    responses(
        (status = 201, body = DocumentAnswer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "The order does not permit it, or has fewer units left. Nothing was changed."),
    ))]
async fn take_back(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<DocumentAnswer>, ApiError> {
    add(&context, id, &body, Kind::Return).await
}

/// Get what happened to an order.
#[utoipa::path(get, path = "/api/orders/{id}/timeline/", tag = "Orders", params(("id" = i64, Path)),
    responses((status = 200, body = Timeline), (status = 404, response = NotFound)))]
async fn read_timeline(
    Reads(db): Reads,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Timeline>, ApiError> {
    let order = queries::get(&db, id).await?;
    order
        .filter(|order| stores.contains(order.store.id))
        .ok_or(NO_SUCH)?;
    Ok(Json(timeline::read(&db, id).await?))
}
