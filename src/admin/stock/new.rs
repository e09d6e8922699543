//! `/admin/stock/new/`: a product that a store is to keep from now on.

use std::borrow::Borrow;

use askama::Template;
use axum::{extract::State, http::Method, response::Response};
use sqlx::PgPool;

use super::SECTION;
use crate::{
    access::Scope,
    admin::{
        choices::{self, Choice, FoundProduct},
        console::Console,
        form::{self, Form, Sent},
        operator::Operator,
        page::{Frame, Refusal, render},
        query::Query,
    },
};

const FIELDS: [Sent; 4] = [
    Sent::Text("store_id"),
    Sent::Text("product_id"),
    Sent::Optional("quantity"),
    Sent::Optional("low_stock_threshold"),
];

#[derive(Template)]
#[template(path = "stock/new.html")]
struct Page {
    frame: Frame,
    form: Form,
    stores: Vec<Choice>,
    found: Found,
}

/// The results of a search, which htmx puts in their place.
#[derive(Template)]
#[template(path = "stock/found.html")]
struct Found {
    store: Option<i64>,
    search: String,
    products: Vec<FoundProduct>,
    chosen: Option<i64>,
}

impl Found {
    fn is_chosen(&self, product: impl Borrow<i64>) -> bool {
        self.chosen == Some(*product.borrow())
    }
}

pub async fn show(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let typed = ["store_id", "product_id", "quantity", "low_stock_threshold", "q"];
    let form = Form::of(typed.map(|name| (name, query.text(name).to_owned())));
    page(&db, &operator, form).await
}

/// `/admin/stock/new/products/`: what a search finds, for htmx.
pub async fn found(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let form = Form::of(["store_id", "q"].map(|name| (name, query.text(name).to_owned())));
    Ok(render(&find(&db, &operator, &form).await?))
}

pub async fn create(
    operator: Operator,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let (body, key) = (form.json(&FIELDS), Some(form.key()));
    let answer = console
        .api
        .send(&operator, Method::POST, "/api/inventory/", key, Some(&body))
        .await;
    if let Some(id) = answer.created() {
        return Ok(form::done(&format!("{SECTION}{id}/"), "created"));
    }
    page(&console.app.database.pool, &operator, form.refused(answer)?).await
}

async fn page(db: &PgPool, operator: &Operator, form: Form) -> Result<Response, Refusal> {
    let page = Page {
        frame: Frame::new(operator, SECTION, "Stock a product"),
        stores: choices::stores(db, &operator.caller.grant.stores).await?,
        found: find(db, operator, &form).await?,
        form,
    };
    let html = render(&page);
    Ok(page.form.shown(html))
}

async fn find(db: &PgPool, operator: &Operator, form: &Form) -> sqlx::Result<Found> {
    let store = form.text("store_id").parse().ok();
    let store = store.filter(|store| operator.caller.grant.stores.hold(*store));
    let search = form.text("q").trim().to_owned();
    let products = match store {
        Some(store) if !search.is_empty() => choices::products(db, store, &search, false).await?,
        _ => Vec::new(),
    };
    Ok(Found {
        store,
        search,
        products,
        chosen: form.text("product_id").parse().ok(),
    })
}
