//! `/admin/categories/`

mod queries;

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::Method,
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;

use super::{
    audit::{self, Entry},
    confirm::{Confirm, pieces},
    console::Console,
    form::{self, Form, Sent},
    operator::Operator,
    page::{Frame, Id, Refusal, render},
    query::{Head, Pager, Query},
    show,
};
use queries::Category;

const SECTION: &str = "/admin/categories/";
const FIELDS: [Sent; 1] = [Sent::Text("name")];

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
    let mut rows = queries::list(&db, &query).await?;
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
        category,
    }))
}

#[derive(Template)]
#[template(path = "category_form.html")]
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

async fn blank(operator: Operator) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let form = Form::of([]);
    Ok(editor(&operator, "New category".into(), SECTION.into(), form))
}

async fn create(operator: Operator, State(console): State<Console>, form: Form) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let (body, key) = (form.json(&FIELDS), Some(form.key()));
    let answer = console
        .api
        .send(&operator, Method::POST, "/api/categories/", key, Some(&body))
        .await;
    if let Some(id) = answer.created() {
        return Ok(form::done(&page_of(id), "created"));
    }
    Ok(editor(
        &operator,
        "New category".into(),
        SECTION.into(),
        form.refused(answer)?,
    ))
}

async fn edit(operator: Operator, State(db): State<PgPool>, Id(id): Id) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let category = queries::get(&db, id).await?.ok_or(Refusal::NotFound)?;
    let title = format!("Edit {}", category.name);
    Ok(editor(
        &operator,
        title,
        page_of(id),
        Form::of([("name", category.name)]),
    ))
}

async fn save(
    operator: Operator,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let (path, body) = (format!("/api/categories/{id}/"), form.json(&FIELDS));
    let answer = console
        .api
        .send(&operator, Method::PATCH, &path, None, Some(&body))
        .await;
    if answer.status.is_success() {
        return Ok(form::done(&page_of(id), "saved"));
    }
    Ok(editor(
        &operator,
        "Edit category".into(),
        page_of(id),
        form.refused(answer)?,
    ))
}

async fn ask(operator: Operator, State(db): State<PgPool>, Id(id): Id) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    Ok(question(&operator, &db, id, Form::of([])).await?.into_response())
}

async fn question(operator: &Operator, db: &PgPool, id: i64, form: Form) -> Result<Confirm, Refusal> {
    let category = queries::get(db, id).await?.ok_or(Refusal::NotFound)?;
    let takes = queries::takes(db, id).await?;
    let products = pieces(takes.products, "product", "products");
    let effects = match (takes.ordered, takes.products) {
        (true, _) => vec![format!("This category has {products}.")],
        (false, 0) => vec!["It has no products: nothing else goes with it.".to_owned()],
        (false, _) => vec![
            format!(
                "With it go its {products} and their stock: {} in {}.",
                pieces(takes.pieces, "piece", "pieces"),
                pieces(takes.stock_rows, "stock row", "stock rows"),
            ),
            "This cannot be undone.".to_owned(),
        ],
    };
    let obstacle = "It cannot be deleted: some of its products were ordered. Move them to another category first.";
    Ok(Confirm {
        frame: Frame::new(
            operator,
            SECTION,
            format!("Delete the category {}?", category.name),
        ),
        effects,
        obstacle: if takes.ordered {
            obstacle.to_owned()
        } else {
            String::new()
        },
        action: format!("{SECTION}{id}/delete/"),
        yes: "Delete",
        back: page_of(id),
        instead: None,
        form,
    })
}

async fn delete(
    operator: Operator,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, Refusal> {
    operator.require(operator.writes_catalogue())?;
    let path = format!("/api/categories/{id}/");
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

fn page_of(id: i64) -> String {
    format!("{SECTION}{id}/")
}
