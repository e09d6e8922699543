//! `/admin/products/`

mod change;
mod queries;

use askama::Template;
use axum::{Router, extract::State, response::Response, routing::get};

use super::{
    audit::{self, Entry},
    error::ConsoleError,
    format,
    operator::Operator,
    options::{self, Choice},
    page::{Frame, Id, render},
    query::{Pager, Query},
    resource,
    return_to::ReturnTo,
    state::Console,
};
use crate::{
    db::ReadPool,
    http::{Reads, ScanLimit},
    product::{self, Product},
};
pub use change::Products;
use queries::{Filter, MOST_STORES, Row, Stock};

const SECTION: &str = "/admin/products/";

pub fn router() -> Router<Console> {
    resource::routes::<Products>(get(list), get(detail))
}

#[derive(Template)]
#[template(path = "products.html")]
struct List {
    frame: Frame,
    query: Query,
    /// `None` where there are too many to choose from.
    categories: Option<Vec<Choice>>,
    rows: Vec<Row>,
    pager: Pager,
    writes: bool,
}

async fn list(
    operator: Operator,
    mut query: Query,
    Reads(db): Reads,
    State(scans): State<ScanLimit>,
) -> Result<Response, ConsoleError> {
    let granted = operator.caller.grant.stores.as_sql_param();
    query.sort(&queries::COLUMNS);
    let filter = Filter::read(&mut query);
    let permit = scans.permit_if(filter.scans()).await?;
    let rows = queries::list(&db, &filter, &query, granted.as_deref());
    let mut rows = query.rows(rows).await?;
    drop(permit);
    let pager = query.pager(&mut rows, query.rows(filter.count(&db)).await?);
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Products"),
        categories: categories(&db).await?,
        rows,
        pager,
        writes: operator.writes_catalogue(),
        query,
    }))
}

/// Categories to choose from; `None` where they are too many to offer, and the one that is meant may not be among them.
async fn categories(db: &ReadPool) -> sqlx::Result<Option<Vec<Choice>>> {
    let offered = options::categories(db).await?;
    Ok(Some(offered).filter(|offered| !options::are_cut_off(offered)))
}

#[derive(Template)]
#[template(path = "product.html")]
struct Detail {
    frame: Frame,
    back: ReturnTo,
    product: Product,
    stock: Vec<Stock>,
    units: i64,
    /// Whether there are more stores than are shown.
    more: bool,
    entries: Vec<Entry>,
    writes: bool,
    stocks: bool,
}

impl Detail {
    /// The product's stock in the list of all stock.
    fn stock_list(&self) -> String {
        format!("/admin/stock/{}", Query::default().with("q", &self.product.title))
    }
}

async fn detail(
    operator: Operator,
    query: Query,
    Reads(db): Reads,
    Id(id): Id,
) -> Result<Response, ConsoleError> {
    let product = product::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    let granted = operator.caller.grant.stores.as_sql_param();
    let mut stock = queries::stock(&db, id, granted.as_deref()).await?;
    let shown = usize::try_from(MOST_STORES).unwrap_or(usize::MAX);
    let more = stock.len() > shown;
    stock.truncate(shown);
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, &product.title),
        units: stock.iter().map(|stock| stock.quantity).sum(),
        entries: audit::latest(&db, &operator, &format!("product:{id}")).await?,
        writes: operator.writes_catalogue(),
        stocks: operator.may(crate::auth::Scope::InventoryWrite),
        back: ReturnTo::from(&query),
        product,
        stock,
        more,
    }))
}
