//! How stores are made, changed and deleted.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use sqlx::PgPool;

use super::{SECTION, granted, queries};
use crate::{
    auth::Scope,
    console::{
        confirm::{Confirm, Fate, pieces},
        form::{self, Form, Sent},
        operator::Operator,
        page::{Frame, Id, Refusal, render},
        query::Query,
        record::Kind,
        state::Console,
    },
};

const STORES: Kind = Kind {
    section: SECTION,
    resource: "/api/stores/",
    fields: &[
        Sent::Text("name"),
        Sent::Text("location"),
        Sent::Checked("is_active"),
    ],
};

#[derive(Template)]
#[template(path = "store_form.html")]
struct Editor {
    frame: Frame,
    form: Form,
    makes: bool,
    back: String,
}

fn editor(frame: Frame, query: &Query, id: Option<i64>, form: Form) -> Response {
    let page = Editor {
        frame,
        form,
        makes: id.is_none(),
        back: id.map_or_else(
            || query.list(SECTION),
            |id| query.way_back(SECTION, &STORES.page_of(id)),
        ),
    };
    let html = render(&page);
    page.form.shown(html)
}

pub async fn blank(operator: Operator, query: Query) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let frame = Frame::new(&operator, SECTION, "New store").after(&query);
    let form = Form::of([("is_active", "on".into())]);
    Ok(editor(frame, &query, None, form))
}

pub async fn create(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = STORES.create(&console, &operator, &form).await;
    if let Some(id) = answer.created() {
        let (page, another) = (STORES.page_of(id) + &query.kept(), query.here());
        return Ok(form::made(&form, &page, &format!("{SECTION}new/{another}")));
    }
    let frame = Frame::new(&operator, SECTION, "New store");
    Ok(editor(frame, &query, None, form.refused(answer)?))
}

pub async fn edit(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    let store = granted(&db, &operator, id).await?;
    let frame = Frame::new(&operator, SECTION, format!("Edit {}", store.name));
    let form = Form::of([
        ("name", store.name),
        ("location", store.location),
        ("is_active", form::check(store.is_active)),
    ]);
    Ok(editor(frame, &query, Some(id), form))
}

pub async fn save(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    let answer = STORES.save(&console, &operator, id, &form).await;
    if answer.status.is_success() {
        return Ok(form::done(&query.way_back(SECTION, &STORES.page_of(id)), "saved"));
    }
    let frame = Frame::new(&operator, SECTION, "Edit store");
    Ok(editor(frame, &query, Some(id), form.refused(answer)?))
}

pub async fn activate(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    STORES.set_active(&console, &operator, &query, id, true).await
}

pub async fn deactivate(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    STORES.set_active(&console, &operator, &query, id, false).await
}

pub async fn ask(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.may(Scope::CatalogWrite))?;
    let page = question(&operator, &query, &db, id, Form::of([])).await?;
    Ok(page.into_response())
}

/// What becomes of a store and its stock when it is deleted.
pub async fn fate(db: &PgPool, id: i64) -> sqlx::Result<Fate> {
    let takes = queries::takes(db, id).await?;
    if takes.ordered {
        return Ok(Err("It has orders, so it cannot be deleted."));
    }
    Ok(Ok(match takes.stock_rows {
        0 => "It has no stock: nothing else goes with it.".to_owned(),
        rows => format!(
            "With it goes its stock: {} of {}.",
            pieces(takes.pieces, "piece", "pieces"),
            pieces(rows, "product", "products")
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
    let store = granted(db, operator, id).await?;
    let mut page = Confirm {
        frame: Frame::new(operator, SECTION, format!("Delete the store {}?", store.name)),
        effects: Vec::new(),
        obstacle: String::new(),
        action: format!("{}delete/{}", STORES.page_of(id), query.keep()),
        yes: "Delete",
        back: query.way_back(SECTION, &STORES.page_of(id)),
        instead: None,
        form,
    };
    match fate(db, id).await? {
        Err(obstacle) => {
            page.obstacle = obstacle.to_owned();
            if store.is_active {
                page.effects = vec!["Deactivated, it takes no more orders.".to_owned()];
                page.instead = Some((
                    format!("{}deactivate/{}", STORES.page_of(id), query.keep()),
                    "Deactivate it instead",
                ));
            } else {
                page.effects = vec!["It is inactive: it takes no more orders.".to_owned()];
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
    operator.require(operator.may(Scope::CatalogWrite))?;
    let answer = STORES.delete(&console, &operator, id).await;
    if answer.status.is_success() {
        return Ok(form::done(&query.list(SECTION), "deleted"));
    }
    let db = &console.app.database.pool;
    let page = question(&operator, &query, db, id, form.refused(answer)?).await?;
    Ok(page.into_response())
}
