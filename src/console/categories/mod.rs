//! `/admin/categories/`

mod queries;

use askama::Template;
use axum::{Router, response::Response, routing::get};

use super::{
    audit::{self, Entry},
    confirm::{DeletePreview, plural},
    edit::Field,
    error::ConsoleError,
    form::Form,
    format,
    operator::Operator,
    page::{Frame, Id, render},
    query::{Pager, Query},
    resource::{self, Editable, Resource},
    return_to::ReturnTo,
    state::Console,
};
use crate::{
    auth::Stores,
    category::{self, commands},
    db::ReadPool,
    http::{ApiError, CommandContext, FormFields, Precondition, Presence, Reads, Unconditional},
};
use queries::Category;

const SECTION: &str = "/admin/categories/";

pub fn router() -> Router<Console> {
    resource::routes::<Categories>(get(list), get(show))
}

#[derive(Template)]
#[template(path = "categories.html")]
struct List {
    frame: Frame,
    query: Query,
    rows: Vec<Category>,
    pager: Pager,
    writes: bool,
}

async fn list(operator: Operator, mut query: Query, Reads(db): Reads) -> Result<Response, ConsoleError> {
    query.sort(&queries::COLUMNS);
    let mut rows = query.rows(queries::list(&db, &query)).await?;
    let pager = query.pager(&mut rows, None);
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Categories"),
        rows,
        pager,
        writes: operator.writes_catalogue(),
        query,
    }))
}

#[derive(Template)]
#[template(path = "category.html")]
struct Detail {
    frame: Frame,
    back: ReturnTo,
    category: Category,
    entries: Vec<Entry>,
    writes: bool,
}

async fn show(
    operator: Operator,
    query: Query,
    Reads(db): Reads,
    Id(id): Id,
) -> Result<Response, ConsoleError> {
    let category = queries::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, &category.name),
        entries: audit::latest(&db, &operator, &format!("category:{id}")).await?,
        writes: operator.writes_catalogue(),
        back: ReturnTo::from(&query),
        category,
    }))
}

/// Categories, as the pages of resources see them.
#[derive(Debug)]
pub struct Categories;

impl Resource for Categories {
    const SUBJECT: &'static str = "category";
    const SECTION: &'static str = SECTION;
    const NAME: &'static str = "category";
    const PLURAL: &'static str = "categories";
    const FIELDS: &'static [Field] =
        &[Field::text("name", "Name", "/name", 100).hint("Unique, up to 100 characters.")];
    type Record = category::Category;

    fn may_write(operator: &Operator) -> bool {
        operator.writes_catalogue()
    }

    async fn find(db: &ReadPool, _: &Stores, id: i64) -> sqlx::Result<Option<category::Category>> {
        category::get(db, id).await
    }

    async fn update(
        context: &CommandContext,
        id: i64,
        expected: &impl Precondition,
        source: &FormFields<'_>,
    ) -> Result<Self::Record, ApiError> {
        commands::update(context, id, expected, source, Presence::Partial).await
    }

    async fn delete(context: &CommandContext, id: i64) -> Result<(), ApiError> {
        commands::delete(context, id, &Unconditional).await
    }

    async fn delete_preview(db: &ReadPool, id: i64) -> sqlx::Result<DeletePreview> {
        let takes = queries::takes(db, id).await?;
        if takes.ordered {
            return Ok(Err(
                "Some of its products have orders, so it can't be deleted. Move them to another category first.",
            ));
        }
        Ok(Ok(match takes.products {
            0 => "It has no products: nothing else is deleted.".to_owned(),
            products => format!(
                "Also deletes its {} and their stock: {} in {}.",
                plural(products, "product", "products"),
                plural(takes.units, "unit", "units"),
                plural(takes.stock_rows, "stock row", "stock rows"),
            ),
        }))
    }
}

impl Editable for Categories {
    fn blank(_: &Query) -> Form {
        Form::of([])
    }

    async fn create(context: &CommandContext, source: &FormFields<'_>) -> Result<i64, ApiError> {
        let created = commands::create(context, source).await?;
        Ok(created.id)
    }
}
