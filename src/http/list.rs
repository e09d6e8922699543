//! Lists, which clients read by page number, with a count, or from end to end by cursor.

use std::{convert::Infallible, fmt::Debug, marker::PhantomData};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiError, Page, cursor,
    extract::invalid_page,
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

/// The rows to read of a list: after a key, with an offset.
#[derive(Debug)]
pub struct PageQuery<T: Listed> {
    /// The rows come after this key.
    pub after: T::Key,
    /// How many rows to read.
    pub limit: i64,
    /// Rows to skip after the key.
    pub offset: i64,
    /// The page that is shown; `None` with a cursor.
    window: Option<PageWindow>,
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

impl<T: Listed> PageQuery<T> {
    /// The first rows of a list.
    pub fn first(limit: i64) -> Self {
        Self {
            after: T::START,
            limit,
            offset: 0,
            window: None,
        }
    }

    /// How many rows the list has, where they were counted.
    pub fn count(&self) -> Option<i64> {
        self.window.map(|window| window.count)
    }
}

impl<T: Listed> ListRequest<T> {
    /// The rows to read. `count` is awaited for a numbered page only.
    pub async fn query(
        &self,
        count: impl Future<Output = sqlx::Result<i64>>,
    ) -> Result<PageQuery<T>, ApiError> {
        match &self.place.cursor {
            // One row more than is shown tells whether there is more.
            Some(cursor) => Ok(PageQuery {
                after: after::<T>(cursor)?,
                limit: SIZE + 1,
                offset: 0,
                window: None,
            }),
            None => self.page_of(count.await?),
        }
    }

    /// The page within a list of `count` rows.
    pub fn page_of(&self, count: i64) -> Result<PageQuery<T>, ApiError> {
        let window = PageWindow::find(self.page(), count)?;
        Ok(PageQuery {
            after: T::START,
            limit: window.limit,
            offset: window.offset,
            window: Some(window),
        })
    }

    /// Limit and offset of a page by number, for a statement that reads and counts at once; [`Self::page_of`] then checks that
    /// the page exists. `None` if the count has to come first, or is not needed.
    pub fn limit_and_offset(&self) -> Result<Option<(i64, i64)>, ApiError> {
        if self.place.cursor.is_some() {
            return Ok(None);
        }
        let Some(page) = page::number(self.page())? else {
            return Ok(None);
        };
        let offset = (page - 1).checked_mul(SIZE).ok_or_else(invalid_page)?;
        Ok(Some((SIZE, offset)))
    }

    /// The answer with the rows that were read.
    pub fn answer(&self, page: &PageQuery<T>, mut rows: Vec<T>) -> Listing<T> {
        if let Some(window) = page.window {
            return Listing::Page(Page::new(&self.url, window, rows));
        }
        let shown = usize::try_from(SIZE).unwrap_or(usize::MAX);
        let is_last = rows.len() <= shown;
        rows.truncate(shown);
        let link = |last: &T| {
            let cursor = cursor::encode(T::LIST, &last.key());
            self.url.link(Some(("cursor", &cursor)))
        };
        Listing::CursorPage(CursorPage {
            next: rows.last().filter(|_| !is_last).map(link),
            results: rows,
        })
    }

    fn page(&self) -> &str {
        self.place.page.as_deref().unwrap_or_default()
    }
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
