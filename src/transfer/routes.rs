//! `/api/transfers/`

use axum::Extension;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands,
    model::{Status, Transfer, TransferRow},
    queries,
    request::{NewReceipt, NewSettlement, NewShipment, NewTransfer, TransferChange},
};
use crate::{
    auth::{Area, Stores},
    http::{
        Answered, ApiError, AppState, Body, CommandContext, CursorPage, ExistingRecords, IfMatch, Invalid,
        InvalidParameter, Json, ListRequest, NotFound, Params, Reads, RecordId, Refused, StateConflict,
        Tagged, api_route,
    },
};

/// The routes of transfers.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(list, create), Area::Inventory))
        .routes(api_route(routes!(retrieve, patch), Area::Inventory))
        .routes(api_route(routes!(ship), Area::Inventory))
        .routes(api_route(routes!(receive), Area::Inventory))
        .routes(api_route(routes!(cancel), Area::Inventory))
}

/// A changed transfer, whose id a dry run shows, too.
type Changed = (Extension<ExistingRecords>, Answered<Transfer>);

/// List transfers, newest first.
#[utoipa::path(get, path = "/api/transfers/", tag = "Transfers", operation_id = "list_transfers",
    params(
        ("from_store_id" = Option<i64>, Query, description = "Only transfers from this store"),
        ("to_store_id" = Option<i64>, Query, description = "Only transfers to this store"),
        ("status" = Option<String>, Query, description = "Only transfers with this status, such as `IN_TRANSIT`"),
        ("reference" = Option<String>, Query, description = "Only transfers with this reference"),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses((status = 200, body = CursorPage<TransferRow>), (status = 400, response = InvalidParameter)))]
async fn list(
    Reads(db): Reads,
    stores: Stores,
    mut params: Params,
    list: ListRequest<TransferRow>,
) -> Result<Json<CursorPage<TransferRow>>, ApiError> {
    let filter = queries::Filter {
        stores: stores.as_sql_param(),
        from_store_id: params.id("from_store_id"),
        to_store_id: params.id("to_store_id"),
        status: params.choice("status", &Status::NAMES),
        reference: params.text("reference"),
    };
    let filter = params.finish(filter)?;
    let rows = queries::list(&db, &filter, list.key()?).await?;
    Ok(Json(list.answer_by_cursor(rows)))
}

/// Create a transfer.
///
/// Nothing moves before it is shipped; with `immediate`, all is shipped and received at once.
#[utoipa::path(post, path = "/api/transfers/", tag = "Transfers", operation_id = "create_transfer", request_body = NewTransfer,
    responses(
        (status = 201, body = Transfer),
        (status = 400, response = Invalid),
        (status = 409, body = Refused, description = "With `immediate`, there are fewer units in stock. Nothing was changed."),
    ))]
async fn create(context: CommandContext, body: Body) -> Result<Answered<Transfer>, ApiError> {
    commands::create(&context, &body).await
}

/// Get a transfer.
#[utoipa::path(get, path = "/api/transfers/{id}/", tag = "Transfers", operation_id = "get_transfer", params(("id" = i64, Path)),
    responses((status = 200, body = Transfer), (status = 404, response = NotFound)))]
async fn retrieve(
    Reads(db): Reads,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Transfer>, ApiError> {
    commands::get(&db, &stores, id).await.map(Json)
}

/// Change a draft.
#[utoipa::path(patch, path = "/api/transfers/{id}/", tag = "Transfers", operation_id = "change_transfer", params(("id" = i64, Path)),
    request_body = TransferChange,
    responses(
        (status = 200, body = Transfer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = StateConflict, description = "It is not a draft any more, or has another version. Nothing was changed."),
    ))]
async fn patch(
    context: CommandContext,
    if_match: IfMatch,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Tagged<Transfer>, ApiError> {
    let changed = commands::change(&context, id, &if_match, &body).await?;
    Ok(Tagged(changed))
}

/// Ship a draft.
///
/// Takes the units from the stock of the source. There is one shipment: units that are not shipped are dropped.
#[utoipa::path(post, path = "/api/transfers/{id}/ship/", tag = "Transfers", operation_id = "ship_transfer", params(("id" = i64, Path)),
    request_body = NewShipment,
    responses(
        (status = 200, body = Transfer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = TransferConflict, description = "It is not a draft any more, has another version or fewer units, or there are fewer units in stock. Nothing was changed."),
    ))]
async fn ship(context: CommandContext, RecordId(id): RecordId, body: Body) -> Result<Changed, ApiError> {
    commands::ship(&context, id, &body).await.map(changed)
}

/// Receive what arrived.
///
/// Adds the received units to the stock of the destination.
#[utoipa::path(post, path = "/api/transfers/{id}/receive/", tag = "Transfers", operation_id = "receive_transfer", params(("id" = i64, Path)),
    request_body = NewReceipt,
    responses(
        (status = 200, body = Transfer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = TransferConflict, description = "Nothing or less is in transit, or it has another version. Nothing was changed."),
    ))]
async fn receive(context: CommandContext, RecordId(id): RecordId, body: Body) -> Result<Changed, ApiError> {
    commands::receive(&context, id, &body).await.map(changed)
}

/// Cancel a transfer.
///
/// Gives up a draft. After it was shipped, the items say what becomes of all that is in transit: it is back at the source, or lost.
#[utoipa::path(post, path = "/api/transfers/{id}/cancel/", tag = "Transfers", operation_id = "cancel_transfer", params(("id" = i64, Path)),
    request_body = NewSettlement,
    responses(
        (status = 200, body = Transfer),
        (status = 400, response = Invalid),
        (status = 404, response = NotFound),
        (status = 409, body = TransferConflict, description = "Nothing is in transit, or it has another version. Nothing was changed."),
    ))]
async fn cancel(context: CommandContext, RecordId(id): RecordId, body: Body) -> Result<Changed, ApiError> {
    commands::cancel(&context, id, &body).await.map(changed)
}

fn changed(answered: Answered<Transfer>) -> Changed {
    (Extension(ExistingRecords), answered)
}

/// Why a transfer or a stock row forbids the request.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum TransferConflict {
    /// The state of the transfer.
    State(StateConflict),
    /// The state of a stock row.
    Stock(Refused),
}
