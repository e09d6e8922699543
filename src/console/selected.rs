//! `/admin/selected/`: something done to all that were checked in a list. Each goes through the API by itself: one that is
//! refused is named with the reason, and does not keep the others from being done.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{
    api::Answer,
    categories,
    confirm::Fate,
    form::{self, Form},
    operator::Operator,
    page::{Frame, Refusal, render},
    products,
    query::Query,
    state::Console,
    stock, stores,
};
use crate::auth::{Scope, Stores};

/// Most things that something is done to at once; a page of a list has fewer.
const MOST: usize = 100;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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

/// Where the list is that something was checked in.
struct Back {
    /// Its query, for the next form.
    list: String,
    link: String,
}

impl Back {
    fn of(kind: Kind, list: &str) -> Self {
        let query = Query::from(Query::default().with("list", list).trim_start_matches('?'));
        Self {
            list: list.to_owned(),
            link: query.list(kind.section()),
        }
    }
}

/// What was checked, and what is to be done to it.
#[derive(Clone, Debug)]
struct Selection {
    kind: Kind,
    act: Act,
    ids: Vec<i64>,
}

/// Something that was checked.
#[derive(Clone, Debug)]
struct Row {
    id: i64,
    name: String,
    /// How many pieces there are, of stock.
    quantity: i64,
}

#[derive(Template)]
#[template(path = "selected.html")]
struct Page {
    frame: Frame,
    selection: Selection,
    /// The list that they were checked in.
    back: Back,
    rows: Vec<Row>,
    /// What becomes of each, where that is more than is said of all.
    fates: Vec<Fate>,
    /// Of those that it was done to, how many; `None` before it is.
    done: Option<usize>,
    /// What it was not done to, each with the reason.
    refused: Vec<(Row, String)>,
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/selected/", get(ask).post(act))
}

async fn ask(operator: Operator, query: Query, State(db): State<PgPool>) -> Result<Response, Refusal> {
    let selection = Selection::read(query.text("of"), query.text("do"), query.all("id"))?;
    operator.require(selection.kind.may_be_written(&operator))?;
    let rows = selection.rows(&db, &operator.caller.grant.stores).await?;
    let mut fates = Vec::new();
    if selection.act == Act::Delete {
        for row in &rows {
            fates.push(selection.kind.fate(row, &db).await?);
        }
    }
    let title = format!("{} what was checked?", selection.act.label());
    Ok(render(&Page {
        frame: Frame::new(&operator, selection.kind.section(), title),
        back: Back::of(selection.kind, query.text("list")),
        selection,
        rows,
        fates,
        done: None,
        refused: Vec::new(),
    }))
}

async fn act(operator: Operator, State(console): State<Console>, form: Form) -> Result<Response, Refusal> {
    let selection = Selection::read(form.text("of"), form.text("do"), form.all("id"))?;
    operator.require(selection.kind.may_be_written(&operator))?;
    let rows = selection
        .rows(&console.app.database.pool, &operator.caller.grant.stores)
        .await?;
    let back = Back::of(selection.kind, form.text("list"));
    let mut refused = Vec::new();
    for row in &rows {
        let answer = selection.do_to(row.id, &console, &operator).await;
        if !answer.status.is_success() {
            refused.push((row.clone(), reason(&answer)));
        }
    }
    if refused.is_empty() {
        let word = if rows.is_empty() {
            "none"
        } else {
            selection.act.word_done()
        };
        return Ok(form::done(&back.link, word));
    }
    let page = Page {
        frame: Frame::new(&operator, selection.kind.section(), "Not all of it was done"),
        done: Some(rows.len() - refused.len()),
        selection,
        back,
        rows,
        fates: Vec::new(),
        refused,
    };
    Ok(render(&page).into_response())
}

/// Why the API refused it, in a sentence.
fn reason(answer: &Answer) -> String {
    match answer.reason() {
        reason if reason.is_empty() => format!("The answer was {}.", answer.status),
        reason => reason,
    }
}

impl Page {
    /// What was checked, each with what becomes of it.
    fn told(&self) -> impl Iterator<Item = (&Row, Option<&Fate>)> {
        let fates = self.fates.iter().map(Some).chain(std::iter::repeat(None));
        self.rows.iter().zip(fates)
    }

    /// Those of it that nothing keeps from being done.
    fn able(&self) -> Vec<&Row> {
        let able = self.told().filter(|(_, fate)| !matches!(fate, Some(Err(_))));
        able.map(|(row, _)| row).collect()
    }
}

impl Selection {
    /// What a form says; 404 where that makes no sense, 400 where it names what is no id, or too many.
    fn read<'a>(of: &str, act: &str, ids: impl Iterator<Item = &'a str>) -> Result<Self, Refusal> {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.word() == of)
            .ok_or(Refusal::NotFound)?;
        let act = Act::ALL
            .into_iter()
            .find(|known| known.word() == act)
            .ok_or(Refusal::NotFound)?;
        if !kind.offers(act) {
            return Err(Refusal::NotFound);
        }
        let ids = ids.map(str::parse).collect::<Result<Vec<i64>, _>>();
        let ids = ids.map_err(|_| Refusal::Unreadable(StatusCode::BAD_REQUEST))?;
        if ids.len() > MOST {
            let reason = format!("At most {MOST} can be checked at a time. Nothing was changed.");
            return Err(Refusal::Api(StatusCode::BAD_REQUEST, reason));
        }
        Ok(Self { kind, act, ids })
    }

    /// What was checked and is there, by name.
    async fn rows(&self, db: &PgPool, granted: &Stores) -> sqlx::Result<Vec<Row>> {
        macro_rules! named {
            ($sql:literal) => {
                sqlx::query_as!(Row, $sql, &self.ids).fetch_all(db).await
            };
        }
        match self.kind {
            Kind::Categories => named!(
                r#"select id, name, 0::bigint as "quantity!" from category where id = any($1) order by name, id"#
            ),
            Kind::Products => {
                named!(
                    r#"select id, title as name, 0::bigint as "quantity!" from product where id = any($1) order by title, id"#
                )
            }
            Kind::Stores => named!(
                r#"select id, name, 0::bigint as "quantity!" from store where id = any($1) order by name, id"#
            ),
            Kind::Stock => {
                let granted = granted.as_sql_param();
                sqlx::query_as!(
                    Row,
                    r#"select i.id, i.product_title || ', ' || s.name as "name!", i.quantity::bigint as "quantity!"
                       from inventory i join store s on s.id = i.store_id
                       where i.id = any($1) and ($2::bigint[] is null or i.store_id = any($2))
                       order by i.product_title, s.name, i.id"#,
                    &self.ids,
                    granted.as_deref()
                )
                .fetch_all(db)
                .await
            }
        }
    }

    async fn do_to(&self, id: i64, console: &Console, operator: &Operator) -> Answer {
        let path = format!("{}{id}/", self.kind.resource());
        let (method, body): (_, Option<Value>) = match self.act {
            Act::Delete => (Method::DELETE, None),
            Act::Activate => (Method::PATCH, Some(json!({ "is_active": true }))),
            Act::Deactivate => (Method::PATCH, Some(json!({ "is_active": false }))),
        };
        console
            .api
            .send(operator, method, &path, None, body.as_ref())
            .await
    }

    /// What follows from a yes.
    fn effect(&self) -> &'static str {
        match self.act {
            Act::Activate => "They will be shown and can be ordered from again.",
            Act::Deactivate => {
                "They will not be shown in lists any more, and nothing of them can be ordered. That can be undone."
            }
            Act::Delete => {
                "This cannot be undone. What cannot be deleted stays, and does not keep the others from going."
            }
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
            Self::Categories => "/admin/categories/",
            Self::Products => "/admin/products/",
            Self::Stores => "/admin/stores/",
            Self::Stock => "/admin/stock/",
        }
    }

    /// Where the API has them.
    fn resource(self) -> &'static str {
        match self {
            Self::Categories => "/api/categories/",
            Self::Products => "/api/products/",
            Self::Stores => "/api/stores/",
            Self::Stock => "/api/inventory/",
        }
    }

    fn may_be_written(self, operator: &Operator) -> bool {
        match self {
            Self::Stock => operator.may(Scope::InventoryWrite),
            _ => operator.writes_catalogue(),
        }
    }

    /// What becomes of one that is deleted.
    async fn fate(self, row: &Row, db: &PgPool) -> sqlx::Result<Fate> {
        match self {
            Self::Categories => categories::fate(db, row.id).await,
            Self::Products => products::fate(db, row.id).await,
            Self::Stores => stores::fate(db, row.id).await,
            Self::Stock => Ok(Ok(stock::left(row.quantity))),
        }
    }

    fn offers(self, act: Act) -> bool {
        act == Act::Delete || matches!(self, Self::Products | Self::Stores)
    }
}

impl Act {
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
