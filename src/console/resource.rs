//! The pages that categories, products and stores share: the forms to create and edit a record, the confirmation of a deletion,
//! and activation. Lists and the pages of records are separate.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    confirm::{Confirm, DeletePreview},
    edit::{self, Edit, Field},
    error::ConsoleError,
    flash,
    form::{FieldKind, Form},
    operator::Operator,
    page::{Frame, Id, render},
    query::Query,
    return_to::ReturnTo,
    state::{Console, Created},
};
use crate::{
    auth::Stores,
    db::ReadPool,
    http::{ApiError, CommandContext, FormFields, Precondition, Reads, Unconditional, retry_unfit},
};

/// A kind of record that operators edit and delete.
pub trait Resource: Send + Sync + 'static {
    /// Its name in the audit log.
    const SUBJECT: &'static str;
    /// Where its pages are.
    const SECTION: &'static str;
    /// What operators call one.
    const NAME: &'static str;
    /// What operators call several.
    const PLURAL: &'static str;
    /// What is true of an inactive one; blank if none is ever inactive.
    const INACTIVE: &'static str = "";
    /// The fields of the form that edits it.
    const FIELDS: &'static [Field];
    /// The record that its commands return.
    type Record: Serialize + Send + Sync;

    /// Whether an operator may write a record that they see.
    fn may_write(operator: &Operator) -> bool;

    /// A record, if it is in one of `stores` or in none.
    fn find(
        db: &ReadPool,
        stores: &Stores,
        id: i64,
    ) -> impl Future<Output = sqlx::Result<Option<Self::Record>>> + Send;

    /// Writes `source` if the record is as expected.
    fn update(
        context: &CommandContext,
        id: i64,
        expected: &impl Precondition,
        source: &FormFields<'_>,
    ) -> impl Future<Output = Result<Self::Record, ApiError>> + Send;

    /// Deletes a record.
    fn delete(context: &CommandContext, id: i64) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// What a deletion also removes, or why a record cannot be deleted.
    fn delete_preview(db: &ReadPool, id: i64) -> impl Future<Output = sqlx::Result<DeletePreview>> + Send;

    /// What a record is called: its first field.
    fn title(record: &Value) -> String {
        Self::FIELDS
            .first()
            .map(|field| field.of(record))
            .unwrap_or_default()
    }

    /// A value of a field as operators read it.
    fn name(
        _db: &ReadPool,
        field: &Field,
        value: String,
    ) -> impl Future<Output = sqlx::Result<String>> + Send {
        let plain = edit::plain(field, value);
        async move { Ok(plain) }
    }
}

/// A resource that has pages to create and edit it.
pub trait Editable: Resource {
    /// A form for a new one.
    fn blank(query: &Query) -> Form;

    /// Creates a record.
    fn create(
        context: &CommandContext,
        source: &FormFields<'_>,
    ) -> impl Future<Output = Result<i64, ApiError>> + Send;

    /// The query of the form for the next record.
    fn another(query: &Query, _form: &Form) -> String {
        query.here()
    }

    /// The page with the form.
    fn editor(_db: &ReadPool, editor: Editor) -> impl Future<Output = Result<Response, ConsoleError>> + Send {
        async move {
            let html = render(&editor);
            Ok(editor.form.shown(html))
        }
    }
}

/// The routes of a resource. Its list and the page of a record are its own.
pub fn routes<R: Editable>(list: MethodRouter<Console>, detail: MethodRouter<Console>) -> Router<Console> {
    let at = |page: &str| format!("{}{page}", R::SECTION);
    let routes = Router::new()
        .route(R::SECTION, list)
        .route(&at("new/"), get(blank::<R>).post(create::<R>))
        .route(&at("{id}/"), detail)
        .route(&at("{id}/edit/"), get(edit::<R>).post(save::<R>))
        .route(&at("{id}/delete/"), get(ask::<R>).post(delete::<R>));
    if R::INACTIVE.is_empty() {
        return routes;
    }
    routes
        .route(&at("{id}/activate/"), post(set_active::<R, true>))
        .route(&at("{id}/deactivate/"), post(set_active::<R, false>))
}

/// The page with a form.
#[derive(Debug, Template)]
#[template(path = "resource_form.html")]
pub struct Editor {
    pub frame: Frame,
    pub form: Form,
    /// Whether the form creates a record.
    pub makes: bool,
    /// Where *Cancel* leads.
    pub back: String,
    fields: &'static [Field],
}

impl Editor {
    fn new<R: Resource>(frame: Frame, back: &ReturnTo, id: Option<i64>, form: Form) -> Self {
        Self {
            frame,
            form,
            makes: id.is_none(),
            back: match id {
                None => back.list(R::SECTION),
                Some(id) => back.after_change(R::SECTION, id),
            },
            fields: R::FIELDS,
        }
    }
}

async fn blank<R: Editable>(
    operator: Operator,
    query: Query,
    Reads(db): Reads,
) -> Result<Response, ConsoleError> {
    operator.require(operator.writes_catalogue())?;
    let frame = Frame::new(&operator, R::SECTION, format!("New {}", R::NAME));
    let back = ReturnTo::from(&query);
    R::editor(&db, Editor::new::<R>(frame, &back, None, R::blank(&query))).await
}

async fn create<R: Editable>(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.writes_catalogue())?;
    let names: Vec<&str> = R::FIELDS.iter().map(|field| field.name).collect();
    let source = R::FIELDS.iter().fold(FormFields::default(), |source, field| {
        form.add_to(source, field.name, field.kind)
    });
    let command = |context| {
        let source = &source;
        async move {
            let id = R::create(&context, source).await?;
            Ok(Created { id })
        }
    };
    let created = console
        .create(&operator, &form, (R::SUBJECT, &names), command)
        .await;
    let back = ReturnTo::from(&query);
    match created {
        Ok(created) => {
            let page = back.page(R::SECTION, created.id);
            let another = format!("{}new/{}", R::SECTION, R::another(&query, &form));
            let path = if form.is_checked("another") { another } else { page };
            let title = typed_title::<R>(&form);
            Ok(flash::redirect_with_flash(&path, format!("{title} created.")))
        }
        Err(error) => {
            let frame = Frame::new(&operator, R::SECTION, format!("New {}", R::NAME));
            let db = &console.app.database.reads;
            R::editor(db, Editor::new::<R>(frame, &back, None, form.refused(error)?)).await
        }
    }
}

async fn edit<R: Editable>(
    operator: Operator,
    back: ReturnTo,
    Reads(db): Reads,
    Id(id): Id,
) -> Result<Response, ConsoleError> {
    operator.require(R::may_write(&operator))?;
    let record = find::<R>(&db, &operator, id)
        .await?
        .ok_or(ConsoleError::NotFound)?;
    let frame = Frame::new(&operator, R::SECTION, format!("Edit {}", R::title(&record)));
    let form = edit::form_of(&record, R::FIELDS);
    R::editor(&db, Editor::new::<R>(frame, &back, Some(id), form)).await
}

async fn save<R: Editable>(
    operator: Operator,
    back: ReturnTo,
    State(console): State<Console>,
    Id(id): Id,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(R::may_write(&operator))?;
    let after = back.after_change(R::SECTION, id);
    let Err(error) = write::<R>(&console, &operator, id, &mut form).await else {
        let title = typed_title::<R>(&form);
        return Ok(flash::redirect_with_flash(&after, format!("{title} saved.")));
    };
    let frame = Frame::new(&operator, R::SECTION, format!("Edit {}", R::NAME));
    if error.status() == StatusCode::PRECONDITION_FAILED {
        return conflict::<R>(&console, &operator, id, (frame, after), form).await;
    }
    let db = &console.app.database.reads;
    R::editor(db, Editor::new::<R>(frame, &back, Some(id), form.refused(error)?)).await
}

/// Writes the changed fields of a form, if there are any. 412 means that there is a [`conflict`].
pub async fn write<R: Resource>(
    console: &Console,
    operator: &Operator,
    id: i64,
    form: &mut Form,
) -> Result<(), ApiError> {
    let edit = Edit::new(form, R::FIELDS);
    let (context, source) = (console.context(operator), edit.source());
    if source.is_empty() {
        return Ok(());
    }
    retry_unfit(|| R::update(&context, id, &edit, &source)).await?;
    Ok(())
}

/// The page on which an operator decides a conflict.
pub async fn conflict<R: Resource>(
    console: &Console,
    operator: &Operator,
    id: i64,
    page: (Frame, String),
    form: Form,
) -> Result<Response, ConsoleError> {
    let db = &console.app.database.reads;
    let record = R::find(db, &operator.caller.grant.stores, id).await?;
    let record = record.ok_or(ConsoleError::NotFound)?;
    let subject = format!("{}:{id}", R::SUBJECT);
    let conflicts = edit::conflicts(&form, (&record, R::FIELDS));
    let mut named = Vec::new();
    for (field, theirs) in conflicts {
        let mine = R::name(db, field, field.typed(&form)).await?;
        let shown = (R::name(db, field, theirs.clone()).await?, mine);
        named.push((field, theirs, shown));
    }
    edit::conflict_page(db, page, &subject, named, form).await
}

async fn set_active<R: Resource, const IS_ACTIVE: bool>(
    operator: Operator,
    back: ReturnTo,
    State(console): State<Console>,
    Id(id): Id,
) -> Result<Response, ConsoleError> {
    operator.require(R::may_write(&operator))?;
    let context = console.context(&operator);
    let record = retry_unfit(|| write_active::<R>(&context, id, IS_ACTIVE)).await?;
    let title = R::title(&serde_json::to_value(&record).unwrap_or_default());
    let done = if IS_ACTIVE { "activated" } else { "deactivated" };
    let after = back.after_change(R::SECTION, id);
    Ok(flash::redirect_with_flash(&after, format!("{title} {done}.")))
}

/// Activates or deactivates a record.
pub async fn write_active<R: Resource>(
    context: &CommandContext,
    id: i64,
    is_active: bool,
) -> Result<R::Record, ApiError> {
    let source = FormFields::default().checkbox("is_active", is_active);
    R::update(context, id, &Unconditional, &source).await
}

pub async fn ask<R: Resource>(
    operator: Operator,
    back: ReturnTo,
    Reads(db): Reads,
    Id(id): Id,
) -> Result<Response, ConsoleError> {
    operator.require(R::may_write(&operator))?;
    let page = question::<R>(&operator, &back, &db, id, Form::of([])).await?;
    Ok(page.into_response())
}

pub async fn delete<R: Resource>(
    operator: Operator,
    back: ReturnTo,
    State(console): State<Console>,
    Id(id): Id,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(R::may_write(&operator))?;
    let context = console.context(&operator);
    let record = find::<R>(context.reads(), &operator, id)
        .await?
        .ok_or(ConsoleError::NotFound)?;
    match retry_unfit(|| R::delete(&context, id)).await {
        Ok(()) => {
            let done = format!("{} deleted.", R::title(&record));
            Ok(flash::redirect_with_flash(&back.list(R::SECTION), done))
        }
        Err(error) => {
            let form = form.refused(error)?;
            let page = question::<R>(&operator, &back, context.reads(), id, form).await?;
            Ok(page.into_response())
        }
    }
}

async fn question<R: Resource>(
    operator: &Operator,
    back: &ReturnTo,
    db: &ReadPool,
    id: i64,
    form: Form,
) -> Result<Confirm, ConsoleError> {
    let record = find::<R>(db, operator, id).await?.ok_or(ConsoleError::NotFound)?;
    let heading = format!("Delete the {} {}?", R::NAME, R::title(&record));
    let path = |action: &str| format!("{}{id}/{action}/{}", R::SECTION, back.via_page());
    let mut page = Confirm {
        frame: Frame::new(operator, R::SECTION, heading),
        effects: Vec::new(),
        obstacle: String::new(),
        action: path("delete"),
        yes: "Delete",
        back: back.after_change(R::SECTION, id),
        instead: None,
        form,
    };
    match R::delete_preview(db, id).await? {
        Ok(along) => page.effects = vec![along, "This cannot be undone.".to_owned()],
        Err(obstacle) => {
            page.obstacle = obstacle.to_owned();
            if record["is_active"] == true {
                page.effects = vec![format!("Deactivated, it {}.", R::INACTIVE)];
                page.instead = Some((path("deactivate"), "Deactivate it instead"));
            } else if !R::INACTIVE.is_empty() {
                page.effects = vec![format!("It is inactive: it {}.", R::INACTIVE)];
            }
        }
    }
    Ok(page)
}

/// What a record is called in a form: the value of its first field.
fn typed_title<R: Resource>(form: &Form) -> &str {
    R::FIELDS.first().map_or("", |field| form.text(field.name).trim())
}

/// A record that the operator may see, as JSON.
pub async fn find<R: Resource>(db: &ReadPool, operator: &Operator, id: i64) -> sqlx::Result<Option<Value>> {
    let record = R::find(db, &operator.caller.grant.stores, id).await?;
    Ok(record.map(|record| serde_json::to_value(&record).unwrap_or_default()))
}
