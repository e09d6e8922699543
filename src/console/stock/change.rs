//! Changes of a stock row: its quantity and its threshold.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{SECTION, detail, rows::StockRows};
use crate::{
    auth::Scope,
    console::{
        error::ConsoleError,
        flash,
        form::{FieldKind, Form},
        operator::Operator,
        page::{Frame, Id},
        query::Query,
        resource,
        return_to::ReturnTo,
        state::Console,
    },
    http::FormFields,
    inventory::commands,
};

/// The part of a movement that the next page tells.
#[derive(Deserialize)]
struct Moved {
    delta: i32,
    quantity_after: i32,
}

/// A change of the quantity, with its reason.
pub async fn move_stock(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.reads;
    let stock = detail::find(db, &operator, id).await?;
    // A count replaces the quantity that the page showed, and no other.
    let names = if form.text("kind") == "count" {
        &["kind", "quantity", "reason", "expected_quantity"][..]
    } else {
        &["kind", "quantity", "reason"]
    };
    let source = names.iter().copied().fold(FormFields::default(), |source, name| {
        form.add_to(source, name, FieldKind::Text)
    });
    let command = |context| {
        let source = &source;
        async move {
            let movement = commands::adjust(&context, id, source).await?.answer;
            Ok(Moved {
                delta: movement.delta,
                quantity_after: movement.quantity_after,
            })
        }
    };
    let purpose = format!("movement of {id}");
    let moved = console.create(&operator, &form, (&purpose, names), command).await;
    let error = match moved {
        Ok(Moved {
            delta,
            quantity_after,
        }) => {
            let done = format!("Stock updated: {} → {quantity_after}.", quantity_after - delta);
            let back = ReturnTo::from(&query).after_change(SECTION, id);
            return Ok(flash::redirect_with_flash(&back, done));
        }
        Err(error) => error,
    };
    let (form, threshold) = (form.refused(error)?, detail::threshold(&stock));
    let status = form.status();
    let page = detail::page(db, &operator, &query, stock, form, threshold).await?;
    Ok((status, page).into_response())
}

/// Sets the low-stock threshold.
pub async fn set_threshold(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(console): State<Console>,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.reads;
    let stock = detail::find(db, &operator, id).await?;
    let back = ReturnTo::from(&query).after_change(SECTION, id);
    let Err(error) = resource::write::<StockRows>(&console, &operator, id, &mut form).await else {
        let threshold = form.text("low_stock_threshold");
        let done = format!("Low-stock threshold set to {threshold}.");
        return Ok(flash::redirect_with_flash(&back, done));
    };
    if error.status() == StatusCode::PRECONDITION_FAILED {
        let title = format!("{} in {}", stock.product_title, stock.store_name);
        let page = (Frame::new(&operator, SECTION, title), back);
        return resource::conflict::<StockRows>(&console, &operator, id, page, form).await;
    }
    let form = form.refused(error)?;
    let status = form.status();
    let page = detail::page(db, &operator, &query, stock, detail::moving(), form).await?;
    Ok((status, page).into_response())
}
