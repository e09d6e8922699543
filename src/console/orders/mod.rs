//! `/admin/orders/`: the list of orders, live at the top.

mod detail;
mod document;
mod export;
mod live;
mod manual_order;
pub mod queries;

use askama::Template;
use axum::{Extension, Router, response::Response, routing::get};
use chrono::{DateTime, Utc};

use super::{
    error::ConsoleError,
    operator::Operator,
    options::{self, Choice},
    page::{Frame, render},
    query::{PAGE_SIZE, Pager, Query, split_page},
    state::Console,
};
use crate::{
    auth::Scope,
    db::ReadPool,
    http::Reads,
    order::{self, Order},
};
use queries::{Filter, Row, SINCE, STATUSES};

/// Where the pages of this folder are in the menu.
const SECTION: &str = "/admin/orders/";

#[derive(Template)]
#[template(path = "orders/list.html")]
struct Page {
    frame: Frame,
    query: Query,
    stores: Vec<Choice>,
    rows: Vec<Row>,
    pager: Pager,
    /// Where new orders come from; blank where the list does not grow.
    live: String,
    /// The same list as a file.
    export: String,
    /// From when on its orders are, if that is within a day.
    since: Option<DateTime<Utc>>,
    may_order: bool,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/orders/", get(list))
        .route("/admin/orders/live/", get(live::stream))
        .route("/admin/orders/export/", get(export::download))
        .route(
            "/admin/orders/new/",
            get(manual_order::show).post(manual_order::place),
        )
        .route("/admin/orders/new/products/", get(manual_order::found))
        .route("/admin/orders/{id}/", get(detail::show))
        .route("/admin/orders/{id}/json/", get(detail::json))
        .route(
            "/admin/orders/{id}/cancel/",
            get(document::show)
                .post(document::add)
                .layer(Extension(document::CANCEL)),
        )
        .route(
            "/admin/orders/{id}/fulfill/",
            get(document::show)
                .post(document::add)
                .layer(Extension(document::FULFILL)),
        )
        .route(
            "/admin/orders/{id}/return/",
            get(document::show)
                .post(document::add)
                .layer(Extension(document::RETURN)),
        )
        .layer(Extension(live::Live::default()))
        .layer(Extension(export::Exports::default()))
}

async fn list(operator: Operator, mut query: Query, Reads(db): Reads) -> Result<Response, ConsoleError> {
    let granted = &operator.caller.grant.stores;
    let filter = Filter::read(&db, &mut query, granted).await?;
    let (rows, pager) = query.rows(page(&db, &filter, &query)).await?;
    let live = if filter.is_live() && query.page() == 1 && !query.has_errors() {
        live_link(&query, &rows)
    } else {
        String::new()
    };
    Ok(render(&Page {
        frame: Frame::new(&operator, SECTION, "Orders"),
        stores: options::stores(&db, granted).await?,
        rows,
        pager,
        live,
        export: format!("/admin/orders/export/{}", query.with("page", "")),
        since: filter.since,
        may_order: operator.may(Scope::OrdersWrite),
        query,
    }))
}

/// Where orders come from that are newer than `rows`, filtered as a list is.
pub fn live_link(query: &Query, rows: &[Row]) -> String {
    let since = rows.first().map_or(0, |row| row.id);
    format!("/admin/orders/live/{}", query.with("since", since))
}

/// A page of the list. It begins with the order that `start` names.
async fn page(db: &ReadPool, filter: &Filter, query: &Query) -> sqlx::Result<(Vec<Row>, Pager)> {
    let ascending = filter.oldest_first;
    let start = query.id("start");
    let range = filter.range(db).await?;
    let here = range.starting(start, ascending);
    let mut ids = queries::ids(db, filter, here, ascending, PAGE_SIZE + 1).await?;
    let next = split_page(&mut ids);
    let before = match start {
        Some(start) => {
            let back = range.before(start, ascending);
            Some(queries::ids(db, filter, back, !ascending, PAGE_SIZE).await?)
        }
        None => None,
    };
    let count = queries::count(db, filter).await?;
    let pager = query.keyed_pager(next, before.as_deref(), count);
    Ok((queries::rows(db, &ids, ascending).await?, pager))
}

/// An order of a granted store.
async fn find(db: &ReadPool, operator: &Operator, id: i64) -> Result<Order, ConsoleError> {
    let order = order::get(db, id).await?.ok_or(ConsoleError::NotFound)?;
    if operator.caller.grant.stores.contains(order.store.id) {
        Ok(order)
    } else {
        Err(ConsoleError::NotFound)
    }
}
