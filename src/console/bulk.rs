//! `/admin/selected/`: one action on all selected rows of a list. Each row is a command of its own: a row that fails is listed
//! with the reason, and the others are still changed.

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};

use super::{
    categories::Categories,
    confirm::plural,
    error::ConsoleError,
    flash,
    form::Form,
    operator::Operator,
    page::{Frame, render},
    products::Products,
    query::Query,
    resource::{self, Resource, write_active},
    return_to::ReturnTo,
    state::Console,
    stock::StockRows,
    stores::Stores,
};
use crate::{
    db::ReadPool,
    http::{ApiError, CommandContext, Reads, retry_unfit},
};

/// The most rows of one action; a page of a list has fewer.
const MOST: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Delete,
    Activate,
    Deactivate,
}

/// The selected rows of a list, and the action on them.
struct Selection {
    operator: Operator,
    /// The list.
    back: ReturnTo,
    action: Action,
    ids: Vec<i64>,
}

/// A selected row.
struct Row {
    id: i64,
    title: String,
    /// What else the action changes, or why it does not change the row.
    outcome: Result<String, String>,
}

#[derive(Template)]
#[template(path = "bulk.html")]
struct Page {
    frame: Frame,
    selection: Selection,
    effect: String,
    /// The kind of the rows, as the list names it.
    of: &'static str,
    list: String,
    rows: Vec<Row>,
    /// How many rows were changed; `None` before the operator has confirmed.
    done: Option<usize>,
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/selected/", get(ask).post(act))
}

async fn ask(
    operator: Operator,
    back: ReturnTo,
    query: Query,
    Reads(db): Reads,
) -> Result<Response, ConsoleError> {
    let selection = Selection::read(operator, back, query.text("do"), query.all("id"))?;
    match query.text("of") {
        "categories" => selection.ask::<Categories>(&db).await,
        "products" => selection.ask::<Products>(&db).await,
        "stores" => selection.ask::<Stores>(&db).await,
        "stock" => selection.ask::<StockRows>(&db).await,
        _ => Err(ConsoleError::NotFound),
    }
}

async fn act(
    operator: Operator,
    back: ReturnTo,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    let selection = Selection::read(operator, back, form.text("do"), form.all("id"))?;
    match form.text("of") {
        "categories" => selection.act::<Categories>(&console).await,
        "products" => selection.act::<Products>(&console).await,
        "stores" => selection.act::<Stores>(&console).await,
        "stock" => selection.act::<StockRows>(&console).await,
        _ => Err(ConsoleError::NotFound),
    }
}

impl Selection {
    /// Reads a form. 404 for an unknown action, 400 for an id that is not a number, or too many of them.
    fn read<'a>(
        operator: Operator,
        back: ReturnTo,
        action: &str,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ConsoleError> {
        let action = match action {
            "delete" => Action::Delete,
            "activate" => Action::Activate,
            "deactivate" => Action::Deactivate,
            _ => return Err(ConsoleError::NotFound),
        };
        let ids = ids.map(str::parse).collect::<Result<Vec<i64>, _>>();
        let mut ids = ids.map_err(|_| ConsoleError::Unreadable(StatusCode::BAD_REQUEST))?;
        if ids.len() > MOST {
            let reason = format!("At most {MOST} rows can be selected at a time. Nothing was changed.");
            return Err(ConsoleError::Api(StatusCode::BAD_REQUEST, reason));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Self {
            operator,
            back,
            action,
            ids,
        })
    }

    async fn ask<R: Resource>(self, db: &ReadPool) -> Result<Response, ConsoleError> {
        let mut rows = self.rows::<R>(db).await?;
        if self.action == Action::Delete {
            for row in &mut rows {
                row.outcome = R::delete_preview(db, row.id).await?.map_err(str::to_owned);
            }
        }
        let able = rows.iter().filter(|row| row.outcome.is_ok()).count();
        let title = match (rows.len(), able) {
            (0, _) => "No rows selected".to_owned(),
            (_, 0) => format!("Nothing can be {}", self.action.done()),
            _ => format!("{} {}?", self.action.label(), things::<R>(able)),
        };
        Ok(self.page::<R>(title, rows, None))
    }

    async fn act<R: Resource>(self, console: &Console) -> Result<Response, ConsoleError> {
        let context = console.context(&self.operator);
        let mut rows = self.rows::<R>(context.reads()).await?;
        rows.retain(|row| row.outcome.is_ok());
        let all = rows.len();
        let mut failed = Vec::new();
        for row in rows {
            if let Err(error) = retry_unfit(|| self.action.run::<R>(row.id, &context)).await {
                let outcome = Err(reason(&error));
                failed.push(Row { outcome, ..row });
            }
        }
        let list = self.back.list(R::SECTION);
        if all == 0 {
            return Ok(flash::redirect_with_warning(&list, "Nothing was changed."));
        }
        if failed.is_empty() {
            let done = format!("{} {}.", things::<R>(all), self.action.done());
            return Ok(flash::redirect_with_flash(&list, done));
        }
        let done = Some(all - failed.len());
        Ok(self.page::<R>("Not all rows were changed".to_owned(), failed, done))
    }

    /// The rows that the operator may change, by title. An action that would not change a row is an error of the row.
    async fn rows<R: Resource>(&self, db: &ReadPool) -> Result<Vec<Row>, ConsoleError> {
        self.operator.require(R::may_write(&self.operator))?;
        if R::INACTIVE.is_empty() && self.action != Action::Delete {
            return Err(ConsoleError::NotFound);
        }
        let mut rows = Vec::new();
        for id in &self.ids {
            let Some(record) = resource::find::<R>(db, &self.operator, *id).await? else {
                continue;
            };
            let outcome = match (self.action, record["is_active"].as_bool()) {
                (Action::Activate, Some(true)) => Err("It is active already.".to_owned()),
                (Action::Deactivate, Some(false)) => Err("It is inactive already.".to_owned()),
                _ => Ok(String::new()),
            };
            rows.push(Row {
                id: *id,
                title: R::title(&record),
                outcome,
            });
        }
        rows.sort_by(|one, other| one.title.cmp(&other.title));
        Ok(rows)
    }

    fn page<R: Resource>(self, title: String, rows: Vec<Row>, done: Option<usize>) -> Response {
        render(&Page {
            frame: Frame::new(&self.operator, R::SECTION, title),
            of: R::SECTION.trim_start_matches("/admin/").trim_end_matches('/'),
            list: self.back.list(R::SECTION),
            effect: self.action.effect::<R>(),
            selection: self,
            rows,
            done,
        })
    }
}

/// A number of records, for sentences.
fn things<R: Resource>(number: usize) -> String {
    plural(i64::try_from(number).unwrap_or(i64::MAX), R::NAME, R::PLURAL)
}

/// Why a command failed, in a sentence.
fn reason(error: &ApiError) -> String {
    error.log();
    match error {
        ApiError::Invalid(errors) => errors.text(),
        error => error.text().into_owned(),
    }
}

impl Page {
    /// The rows that the action changes.
    fn able(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.outcome.is_ok()).collect()
    }
}

impl Action {
    fn label(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Activate => "Activate",
            Self::Deactivate => "Deactivate",
        }
    }

    /// The participle.
    fn done(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Activate => "activated",
            Self::Deactivate => "deactivated",
        }
    }

    /// The effect of the action.
    fn effect<R: Resource>(self) -> String {
        match self {
            Self::Delete => "This cannot be undone.".to_owned(),
            Self::Activate => format!("An inactive {} {}.", R::NAME, R::INACTIVE),
            Self::Deactivate => format!(
                "An inactive {} {}. You can activate it again.",
                R::NAME,
                R::INACTIVE
            ),
        }
    }

    async fn run<R: Resource>(self, id: i64, context: &CommandContext) -> Result<(), ApiError> {
        match self {
            Self::Delete => R::delete(context, id).await,
            Self::Activate => write_active::<R>(context, id, true).await.map(drop),
            Self::Deactivate => write_active::<R>(context, id, false).await.map(drop),
        }
    }
}
