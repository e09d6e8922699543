//! `/admin/selected/`: something done to all that were checked in a list. Each is a command of its own: one that is refused is
//! named with the reason, and does not keep the others from being done.

mod queries;

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;

use super::{
    categories::Categories,
    confirm::DeletePreview,
    error::ConsoleError,
    flash,
    form::Form,
    operator::Operator,
    page::{Frame, render},
    products::Products,
    query::Query,
    resource::{Resource, write_active},
    return_to::ReturnTo,
    state::{Console, retry_unfit},
    stock::StockRows,
    stores::Stores,
};
use crate::http::{ApiError, CommandContext};
use queries::Row;

/// Most things that something is done to at once; a page of a list has fewer.
const MOST: usize = 100;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Categories,
    Products,
    Stores,
    Stock,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Delete,
    Activate,
    Deactivate,
}

/// What was checked, and what is to be done to it.
#[derive(Clone, Debug)]
struct Selection {
    kind: Kind,
    act: Act,
    ids: Vec<i64>,
}

#[derive(Template)]
#[template(path = "bulk.html")]
struct Page {
    frame: Frame,
    selection: Selection,
    /// The list that they were checked in.
    back: ReturnTo,
    rows: Vec<Row>,
    /// What becomes of each, where that is more than is said of all.
    previews: Vec<DeletePreview>,
    /// Of those that it was done to, how many; `None` before it is.
    done: Option<usize>,
    /// What it was not done to, each with the reason.
    refused: Vec<(Row, String)>,
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/selected/", get(ask).post(act))
}

async fn ask(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, ConsoleError> {
    let selection = Selection::read(query.text("of"), query.text("do"), query.all("id"))?;
    operator.require(selection.kind.may_be_written(&operator))?;
    let granted = &operator.caller.grant.stores;
    let rows = queries::rows(&db, selection.kind, &selection.ids, granted).await?;
    let mut previews = Vec::new();
    for row in &rows {
        previews.push(match selection.act {
            Act::Delete => selection.kind.delete_preview(row.id, &db).await?,
            act if act.changes(row) => Ok(String::new()),
            Act::Activate => Err("It is active already."),
            Act::Deactivate => Err("It is inactive already."),
        });
    }
    let title = format!("{} what was checked?", selection.act.label());
    Ok(render(&Page {
        frame: Frame::new(&operator, selection.kind.section(), title),
        back: ReturnTo::from(&query),
        selection,
        rows,
        previews,
        done: None,
        refused: Vec::new(),
    }))
}

async fn act(
    operator: Operator,
    back: ReturnTo,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    let selection = Selection::read(form.text("of"), form.text("do"), form.all("id"))?;
    operator.require(selection.kind.may_be_written(&operator))?;
    let granted = &operator.caller.grant.stores;
    let rows = queries::rows(
        &console.app.database.pool,
        selection.kind,
        &selection.ids,
        granted,
    )
    .await?;
    let rows: Vec<Row> = rows
        .into_iter()
        .filter(|row| selection.act.changes(row))
        .collect();
    let context = console.context(&operator);
    let mut refused = Vec::new();
    for row in &rows {
        if let Err(error) = retry_unfit(|| selection.do_to(row.id, &context)).await {
            refused.push((row.clone(), reason(&error)));
        }
    }
    if refused.is_empty() {
        let word = if rows.is_empty() {
            "none"
        } else {
            selection.act.word_done()
        };
        return Ok(flash::redirect_with_flash(
            &back.list(selection.kind.section()),
            word,
        ));
    }
    let page = Page {
        frame: Frame::new(&operator, selection.kind.section(), "Not all of it was done"),
        done: Some(rows.len() - refused.len()),
        selection,
        back,
        rows,
        previews: Vec::new(),
        refused,
    };
    Ok(render(&page).into_response())
}

/// Why a command refused it, in a sentence.
fn reason(error: &ApiError) -> String {
    error.log();
    match error {
        ApiError::Invalid(errors) => errors.text(),
        error => error.text().into_owned(),
    }
}

impl Page {
    /// What was checked, each with what becomes of it.
    fn told(&self) -> impl Iterator<Item = (&Row, Option<&DeletePreview>)> {
        let previews = self.previews.iter().map(Some).chain(std::iter::repeat(None));
        self.rows.iter().zip(previews)
    }

    /// Those of it that nothing keeps from being done.
    fn able(&self) -> Vec<&Row> {
        let able = self
            .told()
            .filter(|(_, delete_preview)| !matches!(delete_preview, Some(Err(_))));
        able.map(|(row, _)| row).collect()
    }
}

impl Selection {
    /// What a form says; 404 where that makes no sense, 400 where it names what is no id, or too many.
    fn read<'a>(of: &str, act: &str, ids: impl Iterator<Item = &'a str>) -> Result<Self, ConsoleError> {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.word() == of)
            .ok_or(ConsoleError::NotFound)?;
        let act = Act::ALL
            .into_iter()
            .find(|known| known.word() == act)
            .ok_or(ConsoleError::NotFound)?;
        if !kind.offers(act) {
            return Err(ConsoleError::NotFound);
        }
        let ids = ids.map(str::parse).collect::<Result<Vec<i64>, _>>();
        let ids = ids.map_err(|_| ConsoleError::Unreadable(StatusCode::BAD_REQUEST))?;
        if ids.len() > MOST {
            let reason = format!("At most {MOST} can be checked at a time. Nothing was changed.");
            return Err(ConsoleError::Api(StatusCode::BAD_REQUEST, reason));
        }
        Ok(Self { kind, act, ids })
    }

    async fn do_to(&self, id: i64, context: &CommandContext) -> Result<(), ApiError> {
        match self.kind {
            Kind::Categories => self.act.run::<Categories>(id, context).await,
            Kind::Products => self.act.run::<Products>(id, context).await,
            Kind::Stores => self.act.run::<Stores>(id, context).await,
            Kind::Stock => self.act.run::<StockRows>(id, context).await,
        }
    }

    /// What follows from a yes.
    fn effect(&self) -> &'static str {
        match self.act {
            Act::Activate => "They can be found and ordered again.",
            Act::Deactivate => "They can no longer be found or ordered. You can activate them again.",
            Act::Delete => "This cannot be undone.",
        }
    }
}

impl Kind {
    const ALL: [Self; 4] = [Self::Categories, Self::Products, Self::Stores, Self::Stock];

    fn word(self) -> &'static str {
        match self {
            Self::Categories => "categories",
            Self::Products => "products",
            Self::Stores => "stores",
            Self::Stock => "stock",
        }
    }

    fn section(self) -> &'static str {
        match self {
            Self::Categories => Categories::SECTION,
            Self::Products => Products::SECTION,
            Self::Stores => Stores::SECTION,
            Self::Stock => StockRows::SECTION,
        }
    }

    fn may_be_written(self, operator: &Operator) -> bool {
        match self {
            Self::Stock => StockRows::may_write(operator),
            _ => operator.writes_catalogue(),
        }
    }

    /// What becomes of one that is deleted.
    async fn delete_preview(self, id: i64, db: &PgPool) -> sqlx::Result<DeletePreview> {
        match self {
            Self::Categories => Categories::delete_preview(db, id).await,
            Self::Products => Products::delete_preview(db, id).await,
            Self::Stores => Stores::delete_preview(db, id).await,
            Self::Stock => StockRows::delete_preview(db, id).await,
        }
    }

    fn offers(self, act: Act) -> bool {
        act == Act::Delete || matches!(self, Self::Products | Self::Stores)
    }
}

impl Act {
    /// Whether it makes a difference to a row.
    fn changes(self, row: &Row) -> bool {
        match self {
            Self::Delete => true,
            Self::Activate => row.is_active != Some(true),
            Self::Deactivate => row.is_active != Some(false),
        }
    }

    async fn run<R: Resource>(self, id: i64, context: &CommandContext) -> Result<(), ApiError> {
        match self {
            Self::Delete => R::delete(context, id).await,
            Self::Activate => write_active::<R>(context, id, true).await,
            Self::Deactivate => write_active::<R>(context, id, false).await,
        }
    }

    const ALL: [Self; 3] = [Self::Delete, Self::Activate, Self::Deactivate];

    fn word(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Activate => "Activate",
            Self::Deactivate => "Deactivate",
        }
    }

    /// The notice when it is done.
    fn word_done(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Activate => "activated",
            Self::Deactivate => "deactivated",
        }
    }
}
