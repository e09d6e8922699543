//! Pages of a list: 20 rows each, with the exact count and links to the pages beside it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, extract::invalid_page, link::ListUrl, number::sign_and_digits, rules::trim};

/// Rows on a page.
pub(super) const SIZE: i64 = 20;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Page<T> {
    /// Number of rows in the list.
    count: i64,
    /// Whether the list has more rows than `count`, which ends at 10,000 then. Only with filters for which rows are counted anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    count_capped: Option<bool>,
    /// URL of the next page.
    #[schema(required = true)]
    next: Option<String>,
    /// URL of the previous page.
    #[schema(required = true)]
    previous: Option<String>,
    /// The rows of this page.
    results: Vec<T>,
}

impl<T> Page<T> {
    /// All rows of a list.
    pub(super) fn whole(results: Vec<T>) -> Self {
        Self {
            count: i64::try_from(results.len()).unwrap_or(i64::MAX),
            count_capped: None,
            next: None,
            previous: None,
            results,
        }
    }

    /// A page with its rows. `url` is the URL of the list that the client requested.
    pub(super) fn new(url: &ListUrl, window: PageWindow, results: Vec<T>) -> Self {
        // The first page is the list itself.
        let link = |page: i64| url.link(Some(("page", page.to_string().as_str())).filter(|_| page > 1));
        Self {
            count: window.count,
            count_capped: None,
            next: (window.page < window.pages).then(|| link(window.page + 1)),
            previous: (window.page > 1).then(|| link(window.page - 1)),
            results,
        }
    }

    pub(super) fn mark_capped(&mut self, is_capped: bool) {
        self.count_capped = Some(is_capped);
    }
}

/// A page of a list, with the numbers of pages and rows of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageWindow {
    page: i64,
    pages: i64,
    count: i64,
}

impl PageWindow {
    /// Finds the page within a list of `count` rows. The first page of an empty list exists, and is empty.
    pub(super) fn find(page: &str, count: i64) -> Result<Self, ApiError> {
        let pages = ((count + SIZE - 1) / SIZE).max(1);
        let page = number(page)?.unwrap_or(pages);
        if page > pages {
            return Err(invalid_page());
        }
        Ok(Self { page, pages, count })
    }
}

/// How many rows come before a page.
pub(super) fn skipped(page: i64) -> Result<i64, ApiError> {
    (page - 1).checked_mul(SIZE).ok_or_else(invalid_page)
}

/// The number of a page, from 1; `None` for the last one.
pub(super) fn number(page: &str) -> Result<Option<i64>, ApiError> {
    match page {
        "" => return Ok(Some(1)),
        "last" => return Ok(None),
        _ => {}
    }
    match sign_and_digits(trim(page)) {
        Some((false, digits)) => digits
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(Some)
            .ok_or_else(invalid_page),
        _ => Err(invalid_page()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_a_number_from_one_or_last() {
        for (page, number) in [
            ("", Some(1)),
            ("last", Some(3)),
            (" 2", Some(2)),
            ("+2", Some(2)),
            ("007", None),
        ] {
            let found = PageWindow::find(page, 50);
            assert_eq!(found.ok().map(|window| window.page), number, "{page}");
        }
        for page in [
            "0",
            "-1",
            "abc",
            "1.0",
            "4",
            "99999999999999999999",
            "1_0",
            "\0",
            "last ",
        ] {
            assert!(PageWindow::find(page, 50).is_err(), "{page}");
        }
        assert_eq!(PageWindow::find("", 0).unwrap().page, 1);
        assert_eq!(skipped(3).unwrap(), 40);
        assert!(skipped(i64::MAX).is_err());
    }
}
