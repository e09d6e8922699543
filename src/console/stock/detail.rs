//! `/admin/stock/{id}/`: what a store has of a product, and how it came to that.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{
    SECTION,
    ledger::{self, Line, Movement},
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
    },
    money::Money,
};

/// What a change of the quantity may be.
const KINDS: [(&str, &str); 3] = [
    ("add", "Add: so many came"),
    ("remove", "Remove: so many went"),
    ("count", "Count: so many are there"),
];

#[derive(Template)]
#[template(path = "stock/detail.html")]
struct Page<'a> {
    frame: Frame,
    query: &'a Query,
    stock: Stock,
    movements: Vec<Movement>,
    pager: Pager,
    line: Option<Line>,
    moving: Form,
    threshold: Form,
    entries: Vec<Entry>,
    may_write: bool,
}

/// What a store has of a product.
#[derive(Debug)]
pub struct Stock {
    /// Its id.
    pub id: i64,
    /// Where it is.
    pub store_id: i64,
    /// What that is called.
    pub store_name: String,
    /// What it is.
    pub product_id: i64,
    /// What that is called.
    pub product_title: String,
    /// Whether it may be ordered.
    pub is_active: bool,
    /// What a piece costs.
    pub price: Money,
    /// What the product is sorted into.
    pub category_name: String,
    /// How many pieces there are.
    pub quantity: i64,
    /// From how many pieces downwards that is low.
    pub low_stock_threshold: i64,
    /// Whether it is.
    pub is_low: bool,
    /// When it was first there.
    pub created_at: DateTime<Utc>,
    /// When it was last written.
    pub updated_at: DateTime<Utc>,
}

/// The stock of that id, if the operator may see it.
pub async fn find(db: &PgPool, operator: &Operator, id: i64) -> Result<Stock, ConsoleError> {
    let stores = operator.caller.grant.stores.as_sql_param();
    let stock = sqlx::query_as!(
        Stock,
        r#"select i.id, i.store_id, s.name as store_name, i.product_id, i.product_title, p.is_active,
               p.price as "price: Money", c.name as category_name, i.quantity::bigint as "quantity!",
               i.low_stock_threshold::bigint as "low_stock_threshold!", i.is_low as "is_low!", i.created_at, i.updated_at
           from inventory i join store s on s.id = i.store_id join product p on p.id = i.product_id
               join category c on c.id = p.category_id
           where i.id = $1 and ($2::bigint[] is null or i.store_id = any($2))"#,
        id,
        stores.as_deref()
    )
    .fetch_optional(db)
    .await?;
    stock.ok_or(ConsoleError::NotFound)
}

pub async fn show(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(db): State<PgPool>,
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
    db: &PgPool,
    operator: &Operator,
    query: &Query,
    stock: Stock,
    moving: Form,
    threshold: Form,
) -> Result<Response, ConsoleError> {
    let (movements, pager) = ledger::page(db, stock.id, query).await?;
    let title = format!("{} in {}", stock.product_title, stock.store_name);
    Ok(render(&Page {
        frame: Frame::new(operator, SECTION, title).after(query),
        query,
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
