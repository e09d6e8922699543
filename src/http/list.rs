//! Lists, which clients read by page number, with a count, or from end to end by cursor.

use std::{convert::Infallible, fmt::Debug, marker::PhantomData};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{FromRow, Postgres, QueryBuilder, Row, postgres::PgRow};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiError, Page, cursor,
    link::ListUrl,
    page::{self, PageWindow, SIZE},
};

/// A row of a list.
pub trait Listed {
    /// The sort columns in sequence. Together they are unique.
    type Key: Debug + Serialize + DeserializeOwned;

    /// The name of the list. A cursor of another one is refused.
    const LIST: &'static str;

    /// A key before that of any row.
    const START: Self::Key;

    /// The key of this row.
    fn key(&self) -> Self::Key;
}

/// The part of a list that a request asks for, and its URL.
#[derive(Debug)]
pub struct ListRequest<T> {
    url: ListUrl,
    place: ListParams,
    row: PhantomData<fn() -> T>,
}

/// The parameters that select a part of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Page number from 1, or `last`
    page: Option<String>,
    /// Reads the list from end to end: empty for the first rows, then the value in `next`. The response has no `count`
    cursor: Option<String>,
}

/// The rows to read of a list. Each variant has a statement with fixed limits: PostgreSQL keeps no plan for a statement whose limit
/// is a parameter, and planning takes longer than reading a page.
#[derive(Debug)]
pub enum PageQuery<T: Listed> {
    /// The first 20 rows, and the count.
    First,
    /// The 20 rows after this many, or those of the last page, and the count. Beyond the last page, none.
    Later(Option<i64>),
    /// The 21 rows after a key: one more than is shown tells whether there is more.
    After(T::Key),
}

impl<T: Listed> PageQuery<T> {
    /// How many rows come before those of a page, in a list of `count` rows.
    pub fn skipped(&self, count: i64) -> i64 {
        match self {
            Self::Later(Some(skipped)) => *skipped,
            Self::Later(None) => (count - 1).max(0) / SIZE * SIZE,
            Self::First | Self::After(_) => 0,
        }
    }
}

/// Adds `place`: the count in `total`, and how many rows come before a later page. It is materialized, because PostgreSQL plans
/// a statement each time if the best plan depends on a parameter.
pub fn push_place(query: &mut QueryBuilder<Postgres>, skipped: Option<i64>) {
    query
        .push("place as materialized (select count, coalesce(")
        .push_bind(skipped);
    query.push(", greatest(count - 1, 0) / 20 * 20) as skipped from total)");
}

/// The highest count of a list whose rows no counter has.
pub const COUNT_LIMIT: i64 = 10_000;

/// A row that was read, and the count, unless the rows come after a key.
#[derive(Debug)]
pub struct Counted<T> {
    /// How many rows the list has.
    pub count: Option<i64>,
    /// The row.
    pub row: T,
}

/// The count is the first column. Columns are read by position and without a check of their types, which would take a sixth of the
/// time of a list.
impl<'r, T: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Counted<T> {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            count: row.try_get_unchecked(0)?,
            row: T::from_row(row)?,
        })
    }
}

/// The rows that were read, and the count, unless they come after a key.
#[derive(Debug)]
pub struct Rows<T> {
    /// How many rows the list has.
    pub count: Option<i64>,
    /// The rows.
    pub rows: Vec<T>,
}

/// Without rows, the list is empty, or the page is beyond its end.
impl<T> From<Vec<Counted<T>>> for Rows<T> {
    fn from(rows: Vec<Counted<T>>) -> Self {
        Self {
            count: rows.first().and_then(|first| first.count),
            rows: rows.into_iter().map(|counted| counted.row).collect(),
        }
    }
}

/// A part of a list: a page, unless a cursor was sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Listing<T> {
    /// A page of the list.
    Page(Page<T>),
    /// A page by cursor.
    CursorPage(CursorPage<T>),
}

impl<T> Listing<T> {
    /// A short list on one page.
    pub fn whole(rows: Vec<T>) -> Self {
        Self::Page(Page::whole(rows))
    }
}

/// Up to 20 rows of a list that is read by cursor.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorPage<T> {
    /// URL of the next page; null at the end.
    #[schema(required = true)]
    next: Option<String>,
    /// The rows of this page.
    results: Vec<T>,
}

impl<T: Listed> ListRequest<T> {
    /// The rows to read.
    pub fn query(&self) -> Result<PageQuery<T>, ApiError> {
        if let Some(cursor) = &self.place.cursor {
            return after::<T>(cursor).map(PageQuery::After);
        }
        match page::number(self.page())? {
            Some(1) => Ok(PageQuery::First),
            Some(page) => Ok(PageQuery::Later(Some(page::skipped(page)?))),
            None => Ok(PageQuery::Later(None)),
        }
    }

    /// The answer with the rows that were read.
    pub fn answer(&self, read: impl Into<Rows<T>>) -> Result<Listing<T>, ApiError> {
        let Rows { count, rows } = read.into();
        if self.place.cursor.is_none() {
            let window = PageWindow::find(self.page(), count.unwrap_or(0))?;
            return Ok(Listing::Page(Page::new(&self.url, window, rows)));
        }
        Ok(Listing::CursorPage(self.answer_by_cursor(rows)))
    }

    /// The page by cursor with the rows that were read: one more than is shown tells whether there is more.
    pub fn answer_by_cursor(&self, mut rows: Vec<T>) -> CursorPage<T> {
        let next = cut(&mut rows);
        self.cursor_page(rows, next.as_ref())
    }

    /// The key to begin after, in a list that has no page numbers.
    pub fn key(&self) -> Result<T::Key, ApiError> {
        after::<T>(self.place.cursor.as_deref().unwrap_or_default())
    }

    /// Rows, and the key that the next page begins after.
    pub fn cursor_page(&self, rows: Vec<T>, next: Option<&T::Key>) -> CursorPage<T> {
        let link = |key| {
            let cursor = cursor::encode(T::LIST, key);
            self.url.link(Some(("cursor", &cursor)))
        };
        CursorPage {
            next: next.map(link),
            results: rows,
        }
    }

    /// The same for a list whose count ends at `COUNT_LIMIT`: a higher one is shown as that, and marked.
    pub fn answer_capped(&self, read: impl Into<Rows<T>>) -> Result<Listing<T>, ApiError> {
        let mut rows = read.into();
        let is_capped = rows.count.is_some_and(|count| count > COUNT_LIMIT);
        rows.count = rows.count.map(|count| count.min(COUNT_LIMIT));
        let mut listing = self.answer(rows)?;
        if let Listing::Page(page) = &mut listing {
            page.mark_capped(is_capped);
        }
        Ok(listing)
    }

    fn page(&self) -> &str {
        self.place.page.as_deref().unwrap_or_default()
    }
}

/// Cuts off the row beyond a page. Returns the key of the last row that is left, if there was one more.
pub fn cut<T: Listed>(rows: &mut Vec<T>) -> Option<T::Key> {
    let shown = usize::try_from(SIZE).unwrap_or(usize::MAX);
    let is_last = rows.len() <= shown;
    rows.truncate(shown);
    rows.last().filter(|_| !is_last).map(Listed::key)
}

/// The key in a cursor; an empty one starts at the first row.
fn after<T: Listed>(cursor: &str) -> Result<T::Key, ApiError> {
    if cursor.is_empty() {
        return Ok(T::START);
    }
    cursor::decode(T::LIST, cursor).ok_or_else(|| ApiError::field("cursor", "Invalid cursor."))
}

impl<S: Send + Sync, T> FromRequestParts<S> for ListRequest<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let url = ListUrl::of(parts);
        let sent = |name| url.parameter(name).map(str::to_owned);
        Ok(Self {
            place: ListParams {
                page: sent("page"),
                cursor: sent("cursor"),
            },
            url,
            row: PhantomData,
        })
    }
}
