//! How products are created, edited and deleted.

use askama::Template;
use axum::response::Response;

use super::{SECTION, categories, queries};
use crate::{
    auth::Stores,
    category,
    console::{
        confirm::{DeletePreview, plural},
        edit::{self, Field},
        error::ConsoleError,
        form::Form,
        operator::Operator,
        options::Choice,
        page::{Frame, render},
        query::Query,
        resource::{Editable, Editor, Resource},
    },
    db::ReadPool,
    http::{ApiError, CommandContext, FormFields, Precondition, Presence, Unconditional},
    product::{self, Product, commands},
};

/// Products, as the pages of resources see them.
#[derive(Debug)]
pub struct Products;

impl Resource for Products {
    const SUBJECT: &'static str = "product";
    const SECTION: &'static str = SECTION;
    const NAME: &'static str = "product";
    const PLURAL: &'static str = "products";
    const INACTIVE: &'static str = "can no longer be found or ordered";
    const FIELDS: &'static [Field] = &[
        Field::text("title", "Title", "/title", 200),
        Field::text("description", "Description", "/description", u32::MAX),
        Field::amount("price", "Price", "/price"),
        Field::text("category_id", "Category", "/category/id", 20),
        Field::checkbox("is_active", "Active (can be found and ordered)", "/is_active"),
    ];
    type Record = Product;

    fn may_write(operator: &Operator) -> bool {
        operator.writes_catalogue()
    }

    async fn find(db: &ReadPool, _: &Stores, id: i64) -> sqlx::Result<Option<Product>> {
        product::get(db, id).await
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
            return Ok(Err("Has orders, so it can't be deleted. Deactivate it instead."));
        }
        Ok(Ok(match takes.stores {
            0 => "Not stocked in any store: nothing else is deleted.".to_owned(),
            stores => format!(
                "Also deletes its stock in {}: {}.",
                plural(stores, "store", "stores"),
                plural(takes.units, "unit", "units")
            ),
        }))
    }

    async fn name(db: &ReadPool, field: &Field, value: String) -> sqlx::Result<String> {
        let named = match value.parse() {
            Ok(id) if field.name == "category_id" => category::get(db, id).await?,
            _ => None,
        };
        Ok(named.map_or_else(|| edit::plain(field, value), |category| category.name))
    }
}

impl Editable for Products {
    fn blank(query: &Query) -> Form {
        let category = query.text("category").to_owned();
        Form::of([("category_id", category), ("is_active", "on".into())])
    }

    async fn create(context: &CommandContext, source: &FormFields<'_>) -> Result<i64, ApiError> {
        let created = commands::create(context, source).await?;
        Ok(created.id)
    }

    fn another(query: &Query, form: &Form) -> String {
        query.with("category", form.text("category_id"))
    }

    async fn editor(db: &ReadPool, editor: Editor) -> Result<Response, ConsoleError> {
        let page = Page {
            frame: editor.frame,
            form: editor.form,
            categories: categories(db).await?,
            makes: editor.makes,
            back: editor.back,
        };
        let html = render(&page);
        Ok(page.form.shown(html))
    }
}

#[derive(Template)]
#[template(path = "product_form.html")]
struct Page {
    frame: Frame,
    form: Form,
    /// `None` where there are too many to choose from.
    categories: Option<Vec<Choice>>,
    makes: bool,
    back: String,
}

impl Page {
    /// Whether no product can be created yet.
    fn lacks_category(&self) -> bool {
        self.categories.as_ref().is_some_and(Vec::is_empty)
    }
}
