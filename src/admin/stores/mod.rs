//! `/admin/stores/`

mod change;
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
    audit::{self, Entry},
    console::Console,
    operator::Operator,
    page::{Frame, Id, Refusal, render},
    query::{Head, Pager, Query},
    show,
};
use crate::access::Scope;
pub use change::fate;
use queries::{MOST_LOW, Sales, Store};

const SECTION: &str = "/admin/stores/";

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/stores/", get(list))
        .route("/admin/stores/new/", get(change::blank).post(change::create))
        .route("/admin/stores/{id}/", get(detail))
        .route("/admin/stores/{id}/edit/", get(change::edit).post(change::save))
        .route("/admin/stores/{id}/activate/", post(change::activate))
        .route("/admin/stores/{id}/deactivate/", post(change::deactivate))
        .route(
            "/admin/stores/{id}/delete/",
            get(change::ask).post(change::delete),
        )
}

#[derive(Template)]
#[template(path = "stores.html")]
struct List {
    frame: Frame,
    query: Query,
    heads: Vec<Head>,
    rows: Vec<Store>,
    pager: Pager,
    /// Whether stores may be made.
    makes: bool,
    writes: bool,
}

async fn list(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    let granted = operator.caller.grant.stores.to_column();
    let mut rows = queries::list(&db, &query, granted.as_deref()).await?;
    let pager = query.pager(&mut rows, None);
    let sorted = query.sort(&queries::COLUMNS);
    let heads = vec![
        query.head("Name", "name", sorted),
        query.head("Location", "location", sorted),
        Head::plain("Stock rows").number(),
        Head::plain("Low").number(),
        Head::plain("Orders").number(),
        Head::plain("State"),
        query.head("Created", "created", sorted),
    ];
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Stores").after(&query),
        heads,
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
    query: Query,
    store: Store,
    sales: Vec<Sales>,
    out_of_stock: i64,
    entries: Vec<Entry>,
    writes: bool,
}

async fn detail(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let store = granted(&db, &operator, id).await?;
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, &store.name).after(&query),
        sales: queries::sales(&db, id).await?,
        out_of_stock: queries::out_of_stock(&db, id).await?,
        entries: audit::latest(&db, &operator, &format!("store:{id}")).await?,
        writes: operator.may(Scope::CatalogWrite),
        query,
        store,
    }))
}

/// A store that the operator may see.
async fn granted(db: &PgPool, operator: &Operator, id: i64) -> Result<Store, Refusal> {
    if !operator.caller.grant.stores.hold(id) {
        return Err(Refusal::NotFound);
    }
    queries::get(db, id).await?.ok_or(Refusal::NotFound)
}
