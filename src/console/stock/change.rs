//! What is done to a stock row: its quantity, its threshold, its end.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use sqlx::PgPool;

use super::{
    SECTION, detail,
    queries::Stock,
    rows::{StockRows, left},
};
use crate::{
    auth::Scope,
    console::{
        confirm::Confirm,
        error::ConsoleError,
        flash,
        form::{FieldKind, Form},
        operator::Operator,
        page::{Frame, Id},
        query::Query,
        resource::{self, Resource},
        return_to::ReturnTo,
        state::{Console, Created, retry_unfit},
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

/// Asks before the stock is deleted.
pub async fn ask(
    operator: Operator,
    back: ReturnTo,
    Id(id): Id,
    State(db): State<PgPool>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let stock = detail::find(&db, &operator, id).await?;
    Ok(question(&operator, &back, &stock, Form::of([])).into_response())
}

/// Deletes it.
pub async fn delete(
    operator: Operator,
    back: ReturnTo,
    Id(id): Id,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let stock = detail::find(&console.app.database.pool, &operator, id).await?;
    let context = console.context(&operator);
    match retry_unfit(|| StockRows::delete(&context, id)).await {
        Ok(()) => Ok(flash::redirect_with_flash(&back.list(SECTION), "deleted")),
        Err(error) => Ok(question(&operator, &back, &stock, form.refused(error)?).into_response()),
    }
}

fn question(operator: &Operator, back: &ReturnTo, stock: &Stock, form: Form) -> Confirm {
    let what = format!("{} in {}", stock.product_title, stock.store_name);
    Confirm {
        frame: Frame::new(operator, SECTION, format!("Delete the stock of {what}?")),
        effects: vec![
            left(stock.quantity),
            "The store then rejects orders for the product. The stock history stays in the database."
                .to_owned(),
        ],
        obstacle: String::new(),
        action: format!("{SECTION}{}/delete/{}", stock.id, back.via_page()),
        yes: "Delete",
        back: back.after_change(SECTION, stock.id),
        instead: None,
        form,
    }
}
