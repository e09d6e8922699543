//! Changes of a stock row: its quantity and its threshold.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

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
        state::{Console, Created},
    },
    http::FormFields,
    inventory::commands,
};

/// A change of the quantity, with its reason.
pub async fn move_stock(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.pool;
    let stock = detail::find(db, &operator, id).await?;
    let names = ["kind", "quantity", "reason"];
    let source = names.into_iter().fold(FormFields::default(), |source, name| {
        form.add_to(source, name, FieldKind::Text)
    });
    let command = |context| {
        let source = &source;
        async move {
            let movement = commands::adjust(&context, id, source).await?;
            Ok(Created::new(movement.id))
        }
    };
    let purpose = format!("movement of {id}");
    let moved = console
        .create(&operator, &form, (&purpose, &names), command)
        .await;
    let Err(error) = moved else {
        return Ok(flash::redirect_with_flash(
            &ReturnTo::from(&query).after_change(SECTION, id),
            "moved",
        ));
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
    let db = &console.app.database.pool;
    let stock = detail::find(db, &operator, id).await?;
    let back = ReturnTo::from(&query).after_change(SECTION, id);
    let Err(error) = resource::write::<StockRows>(&console, &operator, id, &mut form).await else {
        return Ok(flash::redirect_with_flash(&back, "saved"));
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
