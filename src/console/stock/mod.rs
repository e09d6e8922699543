//! `/admin/stock/`: what each store has of each product.

mod change;
mod detail;
mod ledger;
mod new;
mod queries;
mod rows;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};

use super::{
    error::ConsoleError,
    operator::Operator,
    options::{self, Choice},
    page::{Frame, render},
    query::{Pager, Query},
    resource::{ask, delete},
    state::Console,
};
use crate::{auth::Scope, http::Reads, http::ScanLimit, product::text::has_indexed_word};
use queries::{Filter, LAST_UNCOUNTED, Row};
pub use rows::StockRows;

/// Where the pages of this folder are in the menu.
const SECTION: &str = "/admin/stock/";

#[derive(Template)]
#[template(path = "stock/list.html")]
struct Page {
    frame: Frame,
    query: Query,
    stores: Vec<Choice>,
    categories: Vec<Choice>,
    filter: Filter,
    rows: Vec<Row>,
    pager: Pager,
    /// What the list leaves out; blank where it has all that match.
    left_out: &'static str,
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
        .route(
            "/admin/stock/{id}/delete/",
            get(ask::<StockRows>).post(delete::<StockRows>),
        )
}

async fn list(
    operator: Operator,
    mut query: Query,
    Reads(db): Reads,
    State(scans): State<ScanLimit>,
) -> Result<Response, ConsoleError> {
    let is_scan = query.get("q").is_some_and(|text| !has_indexed_word(text));
    let permit = scans.permit_if(is_scan).await?;
    let granted = &operator.caller.grant.stores;
    let filter = Filter::read(&db, &mut query, granted).await?;
    let (mut rows, count) = query.rows(queries::page(&db, &filter, &query)).await?;
    drop(permit);
    let mut pager = query.pager(&mut rows, count);
    let left_out = ended(&mut pager, &filter, &query);
    Ok(render(&Page {
        frame: Frame::new(&operator, SECTION, "Stock"),
        stores: options::stores(&db, granted).await?,
        categories: options::categories(&db).await?,
        filter,
        rows,
        pager,
        left_out,
        may_write: operator.may(Scope::InventoryWrite),
        query,
    }))
}

/// Ends the pages of rows that are not counted, and says what the list leaves out.
fn ended(pager: &mut Pager, filter: &Filter, query: &Query) -> &'static str {
    let mut left_out = "";
    if filter.misses_products() {
        left_out = "Only the first 10,000 products by title are searched: narrow the search.";
    }
    if pager.count.is_none() && pager.page >= LAST_UNCOUNTED {
        if !pager.next.is_empty() {
            left_out = "Only the first 10,000 rows are listed: narrow the search.";
        }
        pager.page = LAST_UNCOUNTED;
        pager.previous = query.with("page", LAST_UNCOUNTED - 1);
        pager.next = String::new();
    }
    left_out
}
