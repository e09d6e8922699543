//! `/api/orders/`

use axum::{Extension, Json, extract::State, http::StatusCode};
use sqlx::PgPool;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    group_commit::GroupCommit,
    model::{Filter, NewOrder, Order, OrderRow, Outcome, PlacedOrder, Stats, Status},
    queries,
};
use crate::web::{
    AppState, Body, InvalidOrder, InvalidParameter, ListParams, ListRequest, Listing, NotFound, Once, Params,
    Presence, Problem, RecordId, endpoint,
};

/// The routes of orders.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(endpoint(routes!(list, create), "GET, POST, HEAD, OPTIONS"))
        .routes(endpoint(routes!(stats), "GET, HEAD, OPTIONS"))
        .routes(endpoint(routes!(retrieve), "GET, HEAD, OPTIONS"))
}

/// All orders, the newest first.
#[utoipa::path(get, path = "/api/orders/", tag = "Orders",
    params(
        ("store_id" = Option<i64>, Query, description = "Only this store"),
        ("status" = Option<String>, Query, description = "Only `PENDING`, `CONFIRMED` or `REJECTED`, in any case; anything else is ignored"),
        ListParams,
    ),
    responses((status = 200, body = Listing<OrderRow>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
async fn list(
    State(db): State<PgPool>,
    mut params: Params,
    list: ListRequest<OrderRow>,
) -> Result<Json<Listing<OrderRow>>, Problem> {
    let status = params.get("status").and_then(Status::parse);
    let filter = Filter {
        store_id: params.id("store_id"),
        status,
    };
    let filter = params.finish(filter)?;
    let slice = list.slice(queries::count(&db, filter)).await?;
    let rows = queries::list(&db, filter, &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Place an order: all of it is taken from the store's stock, or nothing.
#[utoipa::path(post, path = "/api/orders/", tag = "Orders", request_body = NewOrder,
    responses(
        (status = 201, description = "Confirmed: the stock was taken", body = PlacedOrder),
        (status = 200, description = "Rejected: no stock was taken, and `rejection_reason` says why", body = PlacedOrder),
        (status = 400, response = InvalidOrder),
    ))]
async fn create(
    State(app): State<AppState>,
    Extension(placement): Extension<GroupCommit>,
    once: Once,
    body: Body,
) -> Result<(StatusCode, Json<PlacedOrder>), Problem> {
    let mut fields = body.fields(Presence::Complete)?;
    let order = NewOrder::read(&mut fields);
    let order = fields.finish_all(order)?;
    let store_id = order.store_id.clone();
    match placement.place(order, once.pledge()).await? {
        Outcome::Placed(placed) => {
            tracing::Span::current().record("order_id", placed.id);
            if placed.status == Status::Confirmed {
                app.order_confirmed.notify_one();
            }
            Ok((placed.status_code(), Json(placed)))
        }
        Outcome::Repeated => Err(Problem::KeyInUse),
        Outcome::NoStore => Err(Problem::Titled {
            error: "Validation Error",
            detail: Some(format!("Store {store_id} not found or inactive")),
        }),
        Outcome::TotalTooLarge => Err(Problem::field(
            "items",
            "Ensure that the order total has no more than 12 digits.",
        )),
    }
}

/// One order.
#[utoipa::path(get, path = "/api/orders/{id}/", tag = "Orders", params(("id" = i64, Path)),
    responses((status = 200, body = Order), (status = 404, response = NotFound)))]
async fn retrieve(State(db): State<PgPool>, RecordId(id): RecordId) -> Result<Json<Order>, Problem> {
    queries::get(&db, id)
        .await?
        .map(Json)
        .ok_or(Problem::NoSuch("Order"))
}

/// Orders in numbers.
#[utoipa::path(get, path = "/api/orders/stats/", tag = "Orders",
    params(("store_id" = Option<i64>, Query, description = "Only this store")),
    responses((status = 200, body = Stats), (status = 400, response = InvalidParameter)))]
async fn stats(State(db): State<PgPool>, mut params: Params) -> Result<Json<Stats>, Problem> {
    let store_id = params.id("store_id");
    let store_id = params.finish(store_id)?;
    Ok(Json(queries::stats(&db, store_id).await?))
}
