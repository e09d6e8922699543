//! `/admin/stock/{id}/`: the stock of a product in a store, with its history.

use askama::Template;
use axum::response::Response;

use super::{
    SECTION,
    ledger::{self, Line},
    queries::record::{self, Movement, Stock},
    rows::StockRows,
};
use crate::{
    auth::Scope,
    console::{
        audit::{self, Entry},
        edit,
        error::ConsoleError,
        form::Form,
        operator::Operator,
        page::{Frame, Id, render},
        query::{Pager, Query},
        resource::Resource,
        return_to::ReturnTo,
    },
    db::ReadPool,
    http::Reads,
};

/// The kinds of an adjustment.
const KINDS: [(&str, &str); 3] = [
    ("add", "Receive (+)"),
    ("remove", "Remove (−)"),
    ("count", "Set counted quantity (=)"),
];

#[derive(Template)]
#[template(path = "stock/detail.html")]
struct Page<'a> {
    frame: Frame,
    query: &'a Query,
    back: ReturnTo,
    stock: Stock,
    movements: Vec<Movement>,
    pager: Pager,
    line: Option<Line>,
    moving: Form,
    threshold: Form,
    entries: Vec<Entry>,
    may_write: bool,
}

/// The stock of that id, if the operator may see it.
pub async fn find(db: &ReadPool, operator: &Operator, id: i64) -> Result<Stock, ConsoleError> {
    let stores = operator.caller.grant.stores.as_sql_param();
    let stock = record::get(db, id, stores.as_deref()).await?;
    stock.ok_or(ConsoleError::NotFound)
}

pub async fn show(
    operator: Operator,
    query: Query,
    Id(id): Id,
    Reads(db): Reads,
) -> Result<Response, ConsoleError> {
    let stock = find(&db, &operator, id).await?;
    let threshold = threshold(&stock);
    page(&db, &operator, &query, stock, moving(), threshold).await
}

/// A form to change the quantity.
pub fn moving() -> Form {
    Form::of([("kind", "add".to_owned())])
}

/// A form to change the threshold.
pub fn threshold(stock: &Stock) -> Form {
    let record = serde_json::json!({ "low_stock_threshold": stock.low_stock_threshold });
    edit::form_of(&record, StockRows::FIELDS)
}

pub async fn page(
    db: &ReadPool,
    operator: &Operator,
    query: &Query,
    stock: Stock,
    moving: Form,
    threshold: Form,
) -> Result<Response, ConsoleError> {
    let (movements, pager) = ledger::page(db, stock.id, query).await?;
    let title = format!("{} in {}", stock.product_title, stock.store_name);
    Ok(render(&Page {
        frame: Frame::new(operator, SECTION, title),
        query,
        back: ReturnTo::from(query),
        line: ledger::line(db, stock.id).await?,
        entries: audit::latest(db, operator, &format!("stock:{}", stock.id)).await?,
        stock,
        movements,
        pager,
        moving,
        threshold,
        may_write: operator.may(Scope::InventoryWrite),
    }))
}
