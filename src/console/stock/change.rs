//! What is done to a stock row: its quantity, its threshold, its end.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use sqlx::PgPool;

use super::{
    SECTION,
    detail::{self, Stock},
};
use crate::{
    auth::Scope,
    console::{
        confirm::{Confirm, pieces},
        form::{self, Form, Sent},
        operator::Operator,
        page::{Frame, Id, Refusal},
        query::Query,
        state::Console,
    },
};

/// A change of the quantity, with its reason.
pub async fn move_stock(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.pool;
    let stock = detail::find(db, &operator, id).await?;
    let body = form.json(&[Sent::Text("kind"), Sent::Text("quantity"), Sent::Text("reason")]);
    let (path, key) = (format!("/api/inventory/{id}/movements/"), Some(form.key()));
    let answer = console
        .api
        .send(&operator, Method::POST, &path, key, Some(&body))
        .await;
    if answer.status.is_success() {
        return Ok(form::done(&query.way_back(SECTION, &page_of(id)), "moved"));
    }
    let (form, threshold) = (form.refused(answer)?, detail::threshold(&stock));
    let status = form.status();
    let page = detail::page(db, &operator, &query, stock, form, threshold).await?;
    Ok((status, page).into_response())
}

/// From how many pieces downwards the stock is low.
pub async fn set_threshold(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.pool;
    let stock = detail::find(db, &operator, id).await?;
    let body = form.json(&[Sent::Text("low_stock_threshold")]);
    let answer = send(&console, &operator, Method::PATCH, id, Some(&body)).await;
    if answer.status.is_success() {
        return Ok(form::done(&query.way_back(SECTION, &page_of(id)), "saved"));
    }
    let form = form.refused(answer)?;
    let status = form.status();
    let page = detail::page(db, &operator, &query, stock, detail::moving(), form).await?;
    Ok((status, page).into_response())
}

/// Asks before the stock is deleted.
pub async fn ask(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(db): State<PgPool>,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let stock = detail::find(&db, &operator, id).await?;
    Ok(question(&operator, &query, &stock, Form::of([])).into_response())
}

/// Deletes it.
pub async fn delete(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let stock = detail::find(&console.app.database.pool, &operator, id).await?;
    let answer = send(&console, &operator, Method::DELETE, id, None).await;
    if answer.status == StatusCode::NO_CONTENT {
        return Ok(form::done(&query.list(SECTION), "deleted"));
    }
    Ok(question(&operator, &query, &stock, form.refused(answer)?).into_response())
}

fn question(operator: &Operator, query: &Query, stock: &Stock, form: Form) -> Confirm {
    let what = format!("{} in {}", stock.product_title, stock.store_name);
    Confirm {
        frame: Frame::new(operator, SECTION, format!("Delete the stock of {what}?")),
        effects: vec![
            left(stock.quantity),
            "The store no longer keeps the product: orders for it are rejected. Its ledger stays in the database.".to_owned(),
        ],
        obstacle: String::new(),
        action: format!("{SECTION}{}/delete/{}", stock.id, query.keep()),
        yes: "Delete",
        back: query.way_back(SECTION, &page_of(stock.id)),
        instead: None,
        form,
    }
}

/// What becomes of a store's pieces of a product when it no longer keeps it.
pub fn left(quantity: i64) -> String {
    match quantity {
        0 => "Nothing is left of it.".to_owned(),
        1 => "The piece that is left goes with it.".to_owned(),
        left => format!(
            "The {} that are left go with it.",
            pieces(left, "piece", "pieces")
        ),
    }
}

async fn send(
    console: &Console,
    operator: &Operator,
    method: Method,
    id: i64,
    body: Option<&Value>,
) -> crate::console::api::Answer {
    let path = format!("/api/inventory/{id}/");
    console.api.send(operator, method, &path, None, body).await
}

fn page_of(id: i64) -> String {
    format!("{SECTION}{id}/")
}
