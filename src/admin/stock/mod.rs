//! `/admin/stock/`: what each store has of each product.

mod change;
mod detail;
mod ledger;
mod new;
mod queries;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use sqlx::PgPool;

use super::{
    choices::{self, Choice},
    console::Console,
    operator::Operator,
    page::{Frame, Refusal, render},
    query::{Head, Pager, Query},
};
use crate::access::Scope;
use queries::{Filter, Row};

/// Where the pages of this folder are in the menu.
const SECTION: &str = "/admin/stock/";

#[derive(Template)]
#[template(path = "stock/list.html")]
struct Page {
    frame: Frame,
    query: Query,
    stores: Vec<Choice>,
    categories: Vec<Choice>,
    heads: Vec<Head>,
    rows: Vec<Row>,
    pager: Pager,
    may_write: bool,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/stock/", get(list))
        .route("/admin/stock/new/", get(new::show).post(new::create))
        .route("/admin/stock/new/products/", get(new::found))
        .route("/admin/stock/{id}/", get(detail::show))
        .route("/admin/stock/{id}/movements/", post(change::move_stock))
        .route("/admin/stock/{id}/threshold/", post(change::set_threshold))
        .route("/admin/stock/{id}/delete/", get(change::ask).post(change::delete))
}

async fn list(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    let granted = &operator.caller.grant.stores;
    let filter = Filter::read(&db, &query, granted).await?;
    let (mut rows, count) = queries::page(&db, &filter, &query).await?;
    let pager = query.pager(&mut rows, count);
    Ok(render(&Page {
        frame: Frame::new(&operator, SECTION, "Stock").after(&query),
        stores: choices::stores(&db, granted).await?,
        categories: choices::categories(&db).await?,
        heads: heads(&query, &filter),
        rows,
        pager,
        may_write: operator.may(Scope::InventoryWrite),
        query,
    }))
}

/// Of one store the stock is sorted by title or quantity, of several by store: that is what takes no time.
fn heads(query: &Query, filter: &Filter) -> Vec<Head> {
    let (by_store, in_store) = (filter.products.is_none(), filter.store().is_some());
    let head = |label, column, sortable: bool| {
        if sortable {
            query.head(label, column, filter.sorted)
        } else {
            Head::plain(label)
        }
    };
    vec![
        head("Product", "title", in_store),
        head("Store", "store", by_store && !in_store),
        Head::plain("Category"),
        head("Quantity", "quantity", in_store).number(),
        Head::plain("Low at").number(),
        Head::plain("Level"),
        Head::plain("Changed"),
    ]
}
