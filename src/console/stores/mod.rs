//! `/admin/stores/`

mod change;
mod queries;

use askama::Template;
use axum::{Router, response::Response, routing::get};

use super::{
    audit::{self, Entry},
    error::ConsoleError,
    format,
    low::LowStock,
    operator::Operator,
    page::{Frame, Id, render},
    query::{Pager, Query},
    resource,
    return_to::ReturnTo,
    state::Console,
};
use crate::{auth::Scope, db::ReadPool, http::Reads};
pub use change::Stores;
use queries::{Sales, Store};

const SECTION: &str = "/admin/stores/";

pub fn router() -> Router<Console> {
    resource::routes::<Stores>(get(list), get(detail))
}

#[derive(Template)]
#[template(path = "stores.html")]
struct List {
    frame: Frame,
    query: Query,
    rows: Vec<Store>,
    low: LowStock,
    pager: Pager,
    /// Whether stores may be made.
    makes: bool,
    writes: bool,
}

async fn list(operator: Operator, mut query: Query, Reads(db): Reads) -> Result<Response, ConsoleError> {
    let granted = operator.caller.grant.stores.as_sql_param();
    query.sort(&queries::COLUMNS);
    let is_active = query.read_activity();
    let rows = queries::list(&db, &query, is_active, granted.as_deref());
    let mut rows = query.rows(rows).await?;
    let pager = query.pager(&mut rows, None);
    let shown: Vec<i64> = rows.iter().map(|store| store.id).collect();
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Stores"),
        low: LowStock::count(&db, Some(&shown)).await?,
        rows,
        pager,
        makes: operator.writes_catalogue(),
        writes: operator.may(Scope::CatalogWrite),
        query,
    }))
}

#[derive(Template)]
#[template(path = "store.html")]
struct Detail {
    frame: Frame,
    back: ReturnTo,
    store: Store,
    sales: Vec<Sales>,
    low: LowStock,
    entries: Vec<Entry>,
    writes: bool,
}

async fn detail(
    operator: Operator,
    query: Query,
    Reads(db): Reads,
    Id(id): Id,
) -> Result<Response, ConsoleError> {
    let store = granted(&db, &operator, id).await?;
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, &store.name),
        sales: queries::sales(&db, id).await?,
        low: LowStock::count(&db, Some(&[id])).await?,
        entries: audit::latest(&db, &operator, &format!("store:{id}")).await?,
        writes: operator.may(Scope::CatalogWrite),
        back: ReturnTo::from(&query),
        store,
    }))
}

/// A store that the operator may see.
async fn granted(db: &ReadPool, operator: &Operator, id: i64) -> Result<Store, ConsoleError> {
    if !operator.caller.grant.stores.contains(id) {
        return Err(ConsoleError::NotFound);
    }
    queries::get(db, id).await?.ok_or(ConsoleError::NotFound)
}
