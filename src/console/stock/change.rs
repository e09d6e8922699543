//! What is done to a stock row: its quantity, its threshold, its end.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use sqlx::PgPool;

use super::{
    SECTION,
    detail::{self, Stock},
};
use crate::{
    auth::{Scope, Stores},
    console::{
        confirm::{Confirm, Fate, pieces},
        edit::Field,
        flash,
        form::{FieldKind, Form},
        operator::Operator,
        page::{Frame, Id, Refusal},
        query::Query,
        resource::{self, Resource},
        state::{Console, Created, retry_unfit},
    },
    http::{ApiError, CommandContext, FormFields, Precondition, Presence, Unconditional},
    inventory::{self, Inventory, commands},
};

/// The stock of a product in a store, as the pages of resources see it.
#[derive(Debug)]
pub struct StockRows;

impl Resource for StockRows {
    const SUBJECT: &'static str = "stock";
    const SECTION: &'static str = SECTION;
    const FIELDS: &'static [Field] = &[Field::text(
        "low_stock_threshold",
        "Low-stock threshold",
        "/low_stock_threshold",
        10,
    )];
    type Record = Inventory;

    fn may_write(operator: &Operator) -> bool {
        operator.may(Scope::InventoryWrite)
    }

    async fn find(db: &PgPool, stores: &Stores, id: i64) -> sqlx::Result<Option<Inventory>> {
        let row = inventory::get(db, id).await?;
        Ok(row.filter(|row| stores.contains(row.store.id)))
    }

    async fn update(
        context: &CommandContext,
        id: i64,
        expected: &impl Precondition,
        source: &FormFields<'_>,
    ) -> Result<(), ApiError> {
        let updated = commands::update(context, id, expected, source, Presence::Partial).await;
        updated.map(drop)
    }

    async fn delete(context: &CommandContext, id: i64) -> Result<(), ApiError> {
        commands::delete(context, id, &Unconditional).await
    }

    async fn fate(db: &PgPool, id: i64) -> sqlx::Result<Fate> {
        let row = inventory::get(db, id).await?;
        Ok(Ok(left(row.map_or(0, |row| row.quantity.into()))))
    }
}

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
            &query.way_back(SECTION, &page_of(id)),
            "moved",
        ));
    };
    let (form, threshold) = (form.refused(error)?, detail::threshold(&stock));
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
    mut form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.pool;
    let stock = detail::find(db, &operator, id).await?;
    let back = query.way_back(SECTION, &page_of(id));
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
    let context = console.context(&operator);
    match retry_unfit(|| StockRows::delete(&context, id)).await {
        Ok(()) => Ok(flash::redirect_with_flash(&query.list(SECTION), "deleted")),
        Err(error) => Ok(question(&operator, &query, &stock, form.refused(error)?).into_response()),
    }
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
fn left(quantity: i64) -> String {
    match quantity {
        0 => "Nothing is left of it.".to_owned(),
        1 => "The piece that is left goes with it.".to_owned(),
        left => format!(
            "The {} that are left go with it.",
            pieces(left, "piece", "pieces")
        ),
    }
}

fn page_of(id: i64) -> String {
    format!("{SECTION}{id}/")
}
