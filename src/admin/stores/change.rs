//! How stores are made, changed and deleted.

use askama::Template;
use axum::{
    extract::State,
    http::Method,
    response::{IntoResponse, Response},
};
use serde_json::json;
use sqlx::PgPool;

use super::{SECTION, granted, page_of, queries};
use crate::{
    access::Scope,
    admin::{
        confirm::{Confirm, pieces},
        console::Console,
        form::{self, Form, Sent},
        operator::Operator,
        page::{Frame, Id, Refusal, render},
        query::Query,
    },
};

const FIELDS: [Sent; 3] = [
    Sent::Text("name"),
    Sent::Text("location"),
    Sent::Checked("is_active"),
];

#[derive(Template)]
#[template(path = "store_form.html")]
struct Editor {
    frame: Frame,
    form: Form,
    back: String,
}

fn editor(operator: &Operator, title: String, back: String, form: Form) -> Response {
    let frame = Frame::new(operator, SECTION, title);
    let page = Editor { frame, form, back };
    let html = render(&page);
    page.form.shown(html)
}

pub async fn blank(operator: Operator) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let form = Form::of([("is_active", "on".into())]);
    Ok(editor(&operator, "New store".into(), SECTION.into(), form))
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
        .send(&operator, Method::POST, "/api/stores/", key, Some(&body))
        .await;
    if let Some(id) = answer.created() {
        return Ok(form::done(&page_of(id), "created"));
    }
    Ok(editor(
        &operator,
        "New store".into(),
        SECTION.into(),
        form.refused(answer)?,
    ))
}

pub async fn edit(operator: Operator, State(db): State<PgPool>, Id(id): Id) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    let store = granted(&db, &operator, id).await?;
    let title = format!("Edit {}", store.name);
    let form = Form::of([
        ("name", store.name),
        ("location", store.location),
        (
            "is_active",
            if store.is_active {
                "on".into()
            } else {
                String::new()
            },
        ),
    ]);
    Ok(editor(&operator, title, page_of(id), form))
}

pub async fn save(
    operator: Operator,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    let (path, body) = (format!("/api/stores/{id}/"), form.json(&FIELDS));
    let answer = console
        .api
        .send(&operator, Method::PATCH, &path, None, Some(&body))
        .await;
    if answer.status.is_success() {
        return Ok(form::done(&page_of(id), "saved"));
    }
    Ok(editor(
        &operator,
        "Edit store".into(),
        page_of(id),
        form.refused(answer)?,
    ))
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
    operator.require(operator.may(Scope::CatalogWrite))?;
    let (path, body) = (format!("/api/stores/{id}/"), json!({ "is_active": is_active }));
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
    operator.require(operator.may(Scope::CatalogWrite))?;
    Ok(question(&operator, &db, id, Form::of([])).await?.into_response())
}

async fn question(operator: &Operator, db: &PgPool, id: i64, form: Form) -> Result<Confirm, Refusal> {
    let store = granted(db, operator, id).await?;
    let takes = queries::takes(db, id).await?;
    let mut page = Confirm {
        frame: Frame::new(operator, SECTION, format!("Delete the store {}?", store.name)),
        effects: Vec::new(),
        obstacle: String::new(),
        action: format!("{}delete/", page_of(id)),
        yes: "Delete",
        back: page_of(id),
        instead: None,
        form,
    };
    if takes.ordered {
        page.obstacle = String::from("It has orders, so it cannot be deleted.");
        if store.is_active {
            page.effects = vec!["Deactivated, it takes no more orders.".to_owned()];
            page.instead = Some((format!("{}deactivate/", page_of(id)), "Deactivate it instead"));
        } else {
            page.effects = vec!["It is inactive: it takes no more orders.".to_owned()];
        }
    } else {
        let stock = match takes.stock_rows {
            0 => "It has no stock: nothing else goes with it.".to_owned(),
            rows => format!(
                "With it goes its stock: {} of {}.",
                pieces(takes.pieces, "piece", "pieces"),
                pieces(rows, "product", "products")
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
    operator.require(operator.may(Scope::CatalogWrite))?;
    let path = format!("/api/stores/{id}/");
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
