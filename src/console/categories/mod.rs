//! `/admin/categories/`

mod queries;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;

use super::{
    audit::{self, Entry},
    confirm::{Confirm, Fate, pieces},
    form::{self, Form, Sent},
    operator::Operator,
    page::{Frame, Id, Refusal, render},
    query::{Head, Pager, Query},
    record::Kind,
    show,
    state::Console,
};
use queries::Category;

const SECTION: &str = "/admin/categories/";
const CATEGORIES: Kind = Kind {
    section: SECTION,
    resource: "/api/categories/",
    fields: &[Sent::Text("name")],
};

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/categories/", get(list))
        .route("/admin/categories/new/", get(blank).post(create))
        .route("/admin/categories/{id}/", get(show))
        .route("/admin/categories/{id}/edit/", get(edit).post(save))
        .route("/admin/categories/{id}/delete/", get(ask).post(delete))
}

#[derive(Template)]
#[template(path = "categories.html")]
struct List {
    frame: Frame,
    query: Query,
    heads: Vec<Head>,
    rows: Vec<Category>,
    pager: Pager,
    writes: bool,
}

async fn list(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    let mut rows = query.rows(queries::list(&db, &query)).await?;
    let pager = query.pager(&mut rows, None);
    let sorted = query.sort(&queries::COLUMNS);
    let heads = vec![
        query.head("Name", "name", sorted),
        query.head("Products", "products", sorted).number(),
        Head::plain("Active").number(),
        query.head("Created", "created", sorted),
    ];
    Ok(render(&List {
        frame: Frame::new(&operator, SECTION, "Categories").after(&query),
        heads,
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
    query: Query,
    category: Category,
    entries: Vec<Entry>,
    writes: bool,
}

async fn show(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let category = queries::get(&db, id).await?.ok_or(Refusal::NotFound)?;
    Ok(render(&Detail {
        frame: Frame::new(&operator, SECTION, &category.name).after(&query),
        entries: audit::latest(&db, &operator, &format!("category:{id}")).await?,
        writes: operator.writes_catalogue(),
        query,
        category,
    }))
}

#[derive(Template)]
#[template(path = "category_form.html")]
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
            |id| query.way_back(SECTION, &CATEGORIES.page_of(id)),
        ),
    };
    let html = render(&page);
    page.form.shown(html)
}

async fn blank(operator: Operator, query: Query) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let frame = Frame::new(&operator, SECTION, "New category").after(&query);
    Ok(editor(frame, &query, None, Form::of([])))
}

async fn create(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = CATEGORIES.create(&console, &operator, &form).await;
    if let Some(id) = answer.created() {
        let (page, another) = (CATEGORIES.page_of(id) + &query.kept(), query.here());
        return Ok(form::made(&form, &page, &format!("{SECTION}new/{another}")));
    }
    let frame = Frame::new(&operator, SECTION, "New category");
    Ok(editor(frame, &query, None, form.refused(answer)?))
}

async fn edit(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let category = queries::get(&db, id).await?.ok_or(Refusal::NotFound)?;
    let frame = Frame::new(&operator, SECTION, format!("Edit {}", category.name));
    let form = Form::of([("name", category.name)]);
    Ok(editor(frame, &query, Some(id), form))
}

async fn save(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = CATEGORIES.save(&console, &operator, id, &form).await;
    if answer.status.is_success() {
        return Ok(form::done(
            &query.way_back(SECTION, &CATEGORIES.page_of(id)),
            "saved",
        ));
    }
    let frame = Frame::new(&operator, SECTION, "Edit category");
    Ok(editor(frame, &query, Some(id), form.refused(answer)?))
}

async fn ask(
    operator: Operator,
    query: Query,
    State(db): State<PgPool>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let page = question(&operator, &query, &db, id, Form::of([])).await?;
    Ok(page.into_response())
}

/// What becomes of a category, its products and their stock when it is deleted.
pub async fn fate(db: &PgPool, id: i64) -> sqlx::Result<Fate> {
    let takes = queries::takes(db, id).await?;
    if takes.ordered {
        return Ok(Err(
            "It cannot be deleted: some of its products were ordered. Move them to another category first.",
        ));
    }
    Ok(Ok(match takes.products {
        0 => "It has no products: nothing else goes with it.".to_owned(),
        products => format!(
            "With it go its {} and their stock: {} in {}.",
            pieces(products, "product", "products"),
            pieces(takes.pieces, "piece", "pieces"),
            pieces(takes.stock_rows, "stock row", "stock rows"),
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
    let category = queries::get(db, id).await?.ok_or(Refusal::NotFound)?;
    let (effects, obstacle) = match fate(db, id).await? {
        Ok(products) => (vec![products, "This cannot be undone.".to_owned()], String::new()),
        Err(obstacle) => (Vec::new(), obstacle.to_owned()),
    };
    Ok(Confirm {
        frame: Frame::new(
            operator,
            SECTION,
            format!("Delete the category {}?", category.name),
        ),
        effects,
        obstacle,
        action: format!("{SECTION}{id}/delete/{}", query.keep()),
        yes: "Delete",
        back: query.way_back(SECTION, &CATEGORIES.page_of(id)),
        instead: None,
        form,
    })
}

async fn delete(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let answer = CATEGORIES.delete(&console, &operator, id).await;
    if answer.status.is_success() {
        return Ok(form::done(&query.list(SECTION), "deleted"));
    }
    let db = &console.app.database.pool;
    let page = question(&operator, &query, db, id, form.refused(answer)?).await?;
    Ok(page.into_response())
}
