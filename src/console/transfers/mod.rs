//! `/admin/transfers/`: what is on its way between stores.

mod change;
mod new;

use std::borrow::Borrow;

use askama::Template;
use axum::{Extension, Router, response::Response, routing::get};

use super::{
    audit::{self, Entry},
    error::ConsoleError,
    operator::Operator,
    options::{self, Choice},
    page::{Frame, Id, render},
    query::Query,
    state::Console,
};
use crate::{
    auth::Scope,
    http::{Reads, cut},
    transfer::{self, Filter, Status, Transfer, TransferRow},
};
use change::Action;

/// Where the pages of this folder are in the menu.
const SECTION: &str = "/admin/transfers/";

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/transfers/", get(list))
        .route("/admin/transfers/new/", get(new::show).post(new::create))
        .route("/admin/transfers/{id}/", get(detail))
        .route(
            "/admin/transfers/{id}/ship/",
            get(change::show)
                .post(change::make)
                .layer(Extension(Action::Ship)),
        )
        .route(
            "/admin/transfers/{id}/receive/",
            get(change::show)
                .post(change::make)
                .layer(Extension(Action::Receive)),
        )
        .route(
            "/admin/transfers/{id}/cancel/",
            get(change::show)
                .post(change::make)
                .layer(Extension(Action::Cancel)),
        )
}

/// The words for a status, and the class of its badge.
fn badge(status: impl Borrow<Status>) -> (&'static str, &'static str) {
    match status.borrow() {
        Status::Draft => ("Draft", "pending"),
        Status::InTransit => ("In transit", "pending"),
        Status::Partial => ("Partly received", "pending"),
        Status::Received => ("Received", "good"),
        Status::Cancelled => ("Cancelled", "cancelled"),
    }
}

#[derive(Template)]
#[template(path = "transfers/list.html")]
struct List {
    frame: Frame,
    query: Query,
    stores: Vec<Choice>,
    rows: Vec<TransferRow>,
    /// Where the rows below these are; blank on the last page.
    older: String,
    may_write: bool,
}

const STATUSES: [(&str, &str); 5] = [
    ("DRAFT", "Draft"),
    ("IN_TRANSIT", "In transit"),
    ("PARTIAL", "Partly received"),
    ("RECEIVED", "Received"),
    ("CANCELLED", "Cancelled"),
];

async fn list(operator: Operator, mut query: Query, Reads(db): Reads) -> Result<Response, ConsoleError> {
    let granted = &operator.caller.grant.stores;
    let filter = Filter {
        stores: granted.as_sql_param(),
        from_store_id: query.read_id("from"),
        to_store_id: query.read_id("to"),
        status: query.read_choice("status", &Status::NAMES.map(|name| (name, name))),
        reference: query.get("q").map(str::to_owned),
    };
    let below = query.id("below").unwrap_or(i64::MAX);
    let mut rows = query.rows(transfer::list(&db, &filter, below)).await?;
    let older = cut(&mut rows).map(|last| query.with("below", last));
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Transfers"),
        stores: options::stores(&db, granted).await?,
        rows,
        older: older.unwrap_or_default(),
        may_write: operator.may(Scope::InventoryWrite),
        query,
    }))
}

#[derive(Template)]
#[template(path = "transfers/detail.html")]
struct Detail {
    frame: Frame,
    transfer: Transfer,
    actions: Vec<Action>,
    entries: Vec<Entry>,
}

async fn detail(operator: Operator, Reads(db): Reads, Id(id): Id) -> Result<Response, ConsoleError> {
    let transfer = transfer::get(&db, &operator.caller.grant.stores, id).await?;
    let actions = [Action::Ship, Action::Receive, Action::Cancel].into_iter();
    let actions = actions.filter(|action| action.is_open(&operator, &transfer));
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, format!("Transfer {id}")),
        actions: actions.collect(),
        entries: audit::latest(&db, &operator, &format!("transfer:{id}")).await?,
        transfer,
    }))
}
