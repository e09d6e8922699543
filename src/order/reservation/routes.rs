//! `/api/reservations/`

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    commands::{self, Reserved, Shortage},
    model::{Reservation, not_found},
    queries::{self, Filter},
    request::{Extension, NewReservation, Release},
    status::ReservationStatus,
};
use crate::{
    auth::{Area, Stores},
    http::{
        Answered, ApiError, AppState, Body, CommandContext, CursorPage, Invalid, InvalidParameter, Json,
        ListRequest, Params, Reads, RecordId, StateConflict, api_route,
    },
};

/// The routes of reservations.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(api_route(routes!(list, create), Area::Orders))
        .routes(api_route(routes!(retrieve), Area::Orders))
        .routes(api_route(routes!(extend), Area::Orders))
        .routes(api_route(routes!(release), Area::Orders))
}

/// List reservations, newest first.
///
/// A request examines a limited number of reservations: a page may have fewer rows than 20, even none, while `next` is not null.
/// Reservations are kept for 30 days after they ended.
#[utoipa::path(get, path = "/api/reservations/", tag = "Reservations",
    params(
        ("store_id" = Option<i64>, Query, description = "Only reservations in this store"),
        ("status" = Option<String>, Query, description = "Only with this status: `ACTIVE`, `CONSUMED`, `RELEASED` or `EXPIRED`"),
        ("reference" = Option<String>, Query, description = "Only with this reference of the client"),
        ("cursor" = Option<String>, Query, description = "The value in `next`"),
    ),
    responses(
        (status = 200, body = CursorPage<Reservation>),
        (status = 400, response = InvalidParameter),
    ))]
async fn list(
    Reads(db): Reads,
    stores: Stores,
    mut params: Params,
    list: ListRequest<Reservation>,
) -> Result<Json<CursorPage<Reservation>>, ApiError> {
    let filter = Filter {
        stores: stores.intersect(params.id("store_id")),
        status: params.choice("status", &ReservationStatus::NAMES),
        reference: params.text("reference"),
    };
    let filter = params.finish(filter)?;
    let (rows, next) = queries::list(&db, &filter, list.key()?).await?;
    Ok(Json(list.cursor_page(rows, next.as_ref())))
}

/// Reserve units.
///
/// Reserves all items, or nothing. The units stay in `quantity` of the stock row, and are not `available` to others until the
/// reservation expires. A caller has at most 10,000 active reservations in a store; another one is answered with 429.
#[utoipa::path(post, path = "/api/reservations/", tag = "Reservations", request_body = NewReservation,
    responses(
        (status = 201, body = Reservation),
        (status = 400, response = Invalid),
        (status = 409, body = Shortage, description = "An item is not available. Nothing was reserved."),
    ))]
async fn create(context: CommandContext, body: Body) -> Result<Answered<Reserved>, ApiError> {
    commands::create(&context, &body).await
}

/// Get a reservation.
#[utoipa::path(get, path = "/api/reservations/{id}/", tag = "Reservations", params(("id" = i64, Path)),
    responses((status = 200, body = Reservation), (status = 404, body = StateConflict, description = "There is no such reservation.")))]
async fn retrieve(
    Reads(db): Reads,
    stores: Stores,
    RecordId(id): RecordId,
) -> Result<Json<Reservation>, ApiError> {
    let found = queries::get(&db, id).await?;
    let found = found.filter(|reservation| stores.contains(reservation.store_id));
    Ok(found.map(Json).ok_or_else(not_found)?)
}

/// Set the time at which a reservation expires.
#[utoipa::path(post, path = "/api/reservations/{id}/extend/", tag = "Reservations", params(("id" = i64, Path)),
    request_body = Extension,
    responses(
        (status = 200, body = Reservation),
        (status = 400, response = Invalid),
        (status = 404, body = StateConflict, description = "There is no such reservation."),
        (status = 409, body = StateConflict, description = "The reservation has ended."),
    ))]
async fn extend(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<Reservation>, ApiError> {
    commands::extend(&context, id, &body).await
}

/// Release reserved units.
#[utoipa::path(post, path = "/api/reservations/{id}/release/", tag = "Reservations", params(("id" = i64, Path)),
    request_body = Release,
    responses(
        (status = 200, body = Reservation),
        (status = 400, response = Invalid),
        (status = 404, body = StateConflict, description = "There is no such reservation."),
        (status = 409, body = StateConflict, description = "The reservation has ended, or fewer units are reserved. Nothing was changed."),
    ))]
async fn release(
    context: CommandContext,
    RecordId(id): RecordId,
    body: Body,
) -> Result<Answered<Reservation>, ApiError> {
    commands::release(&context, id, &body).await
}
