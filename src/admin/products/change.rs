//! How products are made, changed and deleted.

use askama::Template;
use axum::{
    extract::State,
    http::Method,
    response::{IntoResponse, Response},
};
use serde_json::json;
use sqlx::PgPool;

use super::{SECTION, categories, page_of, queries};
use crate::admin::{
    choices::Choice,
    confirm::{Confirm, pieces},
    console::Console,
    form::{self, Form, Sent},
    operator::Operator,
    page::{Frame, Id, Refusal, render},
    query::Query,
};

const FIELDS: [Sent; 5] = [
    Sent::Text("title"),
    Sent::Text("description"),
    Sent::Text("price"),
    Sent::Text("category_id"),
    Sent::Checked("is_active"),
];

#[derive(Template)]
#[template(path = "product_form.html")]
struct Editor {
    frame: Frame,
    form: Form,
    categories: Vec<Choice>,
    back: String,
}

async fn editor(
    operator: &Operator,
    db: &PgPool,
    title: String,
    back: String,
    form: Form,
) -> Result<Response, Refusal> {
    let page = Editor {
        frame: Frame::new(operator, SECTION, title),
        categories: categories(db).await?,
        form,
        back,
    };
    let html = render(&page);
    Ok(page.form.shown(html))
}

pub async fn blank(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let category = query.text("category").to_owned();
    let form = Form::of([("category_id", category), ("is_active", "on".into())]);
    editor(&operator, &db, "New product".into(), SECTION.into(), form).await
}

pub async fn create(
    operator: Operator,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let (body, key) = (form.json(&FIELDS), Some(form.key()));
    let answer = console
        .api
        .send(&operator, Method::POST, "/api/products/", key, Some(&body))
        .await;
    if let Some(id) = answer.created() {
        return Ok(form::done(&page_of(id), "created"));
    }
    let (db, form) = (&console.app.database.pool, form.refused(answer)?);
    editor(&operator, db, "New product".into(), SECTION.into(), form).await
}

pub async fn edit(operator: Operator, State(db): State<PgPool>, Id(id): Id) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let product = queries::get(&db, id).await?.ok_or(Refusal::NotFound)?;
    let title = format!("Edit {}", product.title);
    let form = Form::of([
        ("title", product.title),
        ("description", product.description),
        ("price", product.price.to_string()),
        ("category_id", product.category_id.to_string()),
        (
            "is_active",
            if product.is_active {
                "on".into()
            } else {
                String::new()
            },
        ),
    ]);
    editor(&operator, &db, title, page_of(id), form).await
}

pub async fn save(
    operator: Operator,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let (path, body) = (format!("/api/products/{id}/"), form.json(&FIELDS));
    let answer = console
        .api
        .send(&operator, Method::PATCH, &path, None, Some(&body))
        .await;
    if answer.status.is_success() {
        return Ok(form::done(&page_of(id), "saved"));
    }
    let (db, form) = (&console.app.database.pool, form.refused(answer)?);
    editor(&operator, db, "Edit product".into(), page_of(id), form).await
}

pub async fn activate(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    set_active(&operator, &query, &console, id, true).await
}

pub async fn deactivate(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    set_active(&operator, &query, &console, id, false).await
}

async fn set_active(
    operator: &Operator,
    query: &Query,
    console: &Console,
    id: i64,
    is_active: bool,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let (path, body) = (format!("/api/products/{id}/"), json!({ "is_active": is_active }));
    let answer = console
        .api
        .send(operator, Method::PATCH, &path, None, Some(&body))
        .await;
    if !answer.status.is_success() {
        return Err(Refusal::of(&answer));
    }
    Ok(form::toggled(query, SECTION, &page_of(id), is_active))
}

pub async fn ask(operator: Operator, State(db): State<PgPool>, Id(id): Id) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    Ok(question(&operator, &db, id, Form::of([])).await?.into_response())
}

async fn question(operator: &Operator, db: &PgPool, id: i64, form: Form) -> Result<Confirm, Refusal> {
    let product = queries::get(db, id).await?.ok_or(Refusal::NotFound)?;
    let takes = queries::takes(db, id).await?;
    let mut page = Confirm {
        frame: Frame::new(
            operator,
            SECTION,
            format!("Delete the product {}?", product.title),
        ),
        effects: Vec::new(),
        obstacle: String::new(),
        action: format!("{}delete/", page_of(id)),
        yes: "Delete",
        back: page_of(id),
        instead: None,
        form,
    };
    if takes.ordered {
        page.obstacle = String::from("It was ordered, so it cannot be deleted: orders tell of it.");
        if product.is_active {
            page.effects = vec!["Deactivated, it is neither found nor ordered any more.".to_owned()];
            page.instead = Some((format!("{}deactivate/", page_of(id)), "Deactivate it instead"));
        } else {
            page.effects = vec!["It is inactive: it is neither found nor ordered any more.".to_owned()];
        }
    } else {
        let stock = match takes.stores {
            0 => "No store has it: nothing else goes with it.".to_owned(),
            stores => format!(
                "With it goes its stock in {}: {}.",
                pieces(stores, "store", "stores"),
                pieces(takes.pieces, "piece", "pieces")
            ),
        };
        page.effects = vec![stock, "This cannot be undone.".to_owned()];
    }
    Ok(page)
}

pub async fn delete(
    operator: Operator,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let path = format!("/api/products/{id}/");
    let answer = console
        .api
        .send(&operator, Method::DELETE, &path, None, None)
        .await;
    if answer.status.is_success() {
        return Ok(form::done(SECTION, "deleted"));
    }
    let db = &console.app.database.pool;
    Ok(question(&operator, db, id, form.refused(answer)?)
        .await?
        .into_response())
}
