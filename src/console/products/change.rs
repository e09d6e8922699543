//! How products are made, changed and deleted.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use sqlx::PgPool;

use super::{SECTION, categories, queries};
use crate::console::{
    choices::Choice,
    confirm::{Confirm, Fate, pieces},
    form::{self, Form, Sent},
    operator::Operator,
    page::{Frame, Id, Refusal, render},
    query::Query,
    record::Kind,
    state::Console,
};

const PRODUCTS: Kind = Kind {
    section: SECTION,
    resource: "/api/products/",
    fields: &[
        Sent::Text("title"),
        Sent::Text("description"),
        Sent::Text("price"),
        Sent::Text("category_id"),
        Sent::Checked("is_active"),
    ],
};

#[derive(Template)]
#[template(path = "product_form.html")]
struct Editor {
    frame: Frame,
    form: Form,
    /// `None` where there are too many to choose from.
    categories: Option<Vec<Choice>>,
    makes: bool,
    back: String,
}

impl Editor {
    /// Whether no product can be made yet.
    fn lacks_category(&self) -> bool {
        self.categories.as_ref().is_some_and(Vec::is_empty)
    }
}

async fn editor(
    frame: Frame,
    query: &Query,
    db: &PgPool,
    id: Option<i64>,
    form: Form,
) -> Result<Response, Refusal> {
    let page = Editor {
        frame,
        form,
        categories: categories(db).await?,
        makes: id.is_none(),
        back: id.map_or_else(
            || query.list(SECTION),
            |id| query.way_back(SECTION, &PRODUCTS.page_of(id)),
        ),
    };
    let html = render(&page);
    Ok(page.form.shown(html))
}

pub async fn blank(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let category = query.text("category").to_owned();
    let form = Form::of([("category_id", category), ("is_active", "on".into())]);
    let frame = Frame::new(&operator, SECTION, "New product").after(&query);
    editor(frame, &query, &db, None, form).await
}

pub async fn create(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = PRODUCTS.create(&console, &operator, &form).await;
    if let Some(id) = answer.created() {
        let page = PRODUCTS.page_of(id) + &query.kept();
        let another = query.with("category", form.text("category_id"));
        return Ok(form::made(&form, &page, &format!("{SECTION}new/{another}")));
    }
    let (db, form) = (&console.app.database.pool, form.refused(answer)?);
    let frame = Frame::new(&operator, SECTION, "New product");
    editor(frame, &query, db, None, form).await
}

pub async fn edit(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let product = queries::get(&db, id).await?.ok_or(Refusal::NotFound)?;
    let frame = Frame::new(&operator, SECTION, format!("Edit {}", product.title));
    let form = Form::of([
        ("title", product.title),
        ("description", product.description),
        ("price", product.price.to_string()),
        ("category_id", product.category_id.to_string()),
        ("is_active", form::check(product.is_active)),
    ]);
    editor(frame, &query, &db, Some(id), form).await
}

pub async fn save(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = PRODUCTS.save(&console, &operator, id, &form).await;
    if answer.status.is_success() {
        return Ok(form::done(
            &query.way_back(SECTION, &PRODUCTS.page_of(id)),
            "saved",
        ));
    }
    let (db, form) = (&console.app.database.pool, form.refused(answer)?);
    let frame = Frame::new(&operator, SECTION, "Edit product");
    editor(frame, &query, db, Some(id), form).await
}

pub async fn activate(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    PRODUCTS.set_active(&console, &operator, &query, id, true).await
}

pub async fn deactivate(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    PRODUCTS.set_active(&console, &operator, &query, id, false).await
}

pub async fn ask(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let page = question(&operator, &query, &db, id, Form::of([])).await?;
    Ok(page.into_response())
}

/// What becomes of a product and its stock when it is deleted.
pub async fn fate(db: &PgPool, id: i64) -> sqlx::Result<Fate> {
    let takes = queries::takes(db, id).await?;
    if takes.ordered {
        return Ok(Err("It was ordered, so it cannot be deleted: orders tell of it."));
    }
    Ok(Ok(match takes.stores {
        0 => "No store has it: nothing else goes with it.".to_owned(),
        stores => format!(
            "With it goes its stock in {}: {}.",
            pieces(stores, "store", "stores"),
            pieces(takes.pieces, "piece", "pieces")
        ),
    }))
}

async fn question(
    operator: &Operator,
    query: &Query,
    db: &PgPool,
    id: i64,
    form: Form,
) -> Result<Confirm, Refusal> {
    let product = queries::get(db, id).await?.ok_or(Refusal::NotFound)?;
    let mut page = Confirm {
        frame: Frame::new(
            operator,
            SECTION,
            format!("Delete the product {}?", product.title),
        ),
        effects: Vec::new(),
        obstacle: String::new(),
        action: format!("{}delete/{}", PRODUCTS.page_of(id), query.keep()),
        yes: "Delete",
        back: query.way_back(SECTION, &PRODUCTS.page_of(id)),
        instead: None,
        form,
    };
    match fate(db, id).await? {
        Err(obstacle) => {
            page.obstacle = obstacle.to_owned();
            if product.is_active {
                page.effects = vec!["Deactivated, it is neither found nor ordered any more.".to_owned()];
                page.instead = Some((
                    format!("{}deactivate/{}", PRODUCTS.page_of(id), query.keep()),
                    "Deactivate it instead",
                ));
            } else {
                page.effects = vec!["It is inactive: it is neither found nor ordered any more.".to_owned()];
            }
        }
        Ok(stock) => page.effects = vec![stock, "This cannot be undone.".to_owned()],
    }
    Ok(page)
}

pub async fn delete(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = PRODUCTS.delete(&console, &operator, id).await;
    if answer.status.is_success() {
        return Ok(form::done(&query.list(SECTION), "deleted"));
    }
    let db = &console.app.database.pool;
    let page = question(&operator, &query, db, id, form.refused(answer)?).await?;
    Ok(page.into_response())
}
