//! The query of a list: page, order, filters, and links that change one of them.

mod filters;

use std::{convert::Infallible, fmt::Display};

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::http::PARAMETER_LIMIT;

/// Rows on a page of a list.
pub const PAGE_SIZE: i64 = 50;

/// Parameters that name a page; all are numbers.
const PLACES: [&str; 3] = ["page", "start", "below"];

/// The parameters of a page, in their order. Of a repeated parameter the last value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<(String, String)>,
    /// Errors of parameters that cannot be read, by name.
    errors: Vec<(&'static str, String)>,
    /// The column that the list is sorted by, and whether downwards.
    sorted: (&'static str, bool),
}

impl Query {
    /// A trimmed parameter; `None` if it is absent or blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.parameters.iter().rev().find(|(known, _)| known == name);
        value
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A parameter for templates; blank if it is absent.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Whether a parameter has this value, for templates.
    pub fn has(&self, name: &str, value: impl Display) -> bool {
        self.get(name).is_some_and(|text| text == value.to_string())
    }

    /// A number; `None` if it is absent or not a number.
    pub fn id(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// All values of a parameter, trimmed.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.parameters.iter().filter(move |(known, _)| known == name);
        values.map(|(_, value)| value.trim())
    }

    /// The number of the page, starting at 1.
    pub fn page(&self) -> i64 {
        self.id("page").unwrap_or(1).clamp(1, 1_000_000)
    }

    /// Rows before the page.
    pub fn offset(&self) -> i64 {
        (self.page() - 1) * PAGE_SIZE
    }

    /// Reads the column to sort by, and whether downwards: `sort=name`, `sort=-name`. The first of `columns` is the default, in
    /// the same notation.
    pub fn sort(&mut self, columns: &[&'static str]) -> (&'static str, bool) {
        let asked = self.get("sort").unwrap_or_default();
        let known = columns
            .iter()
            .find(|column| column.trim_start_matches('-') == asked.trim_start_matches('-'));
        self.sorted = match known {
            Some(column) => (column.trim_start_matches('-'), asked.starts_with('-')),
            None => (columns[0].trim_start_matches('-'), columns[0].starts_with('-')),
        };
        self.sorted
    }

    /// The column that the list is sorted by, and whether downwards.
    pub fn sorted(&self) -> (&'static str, bool) {
        self.sorted
    }

    /// `ascending` or `descending` for the column that the list is sorted by; blank for others.
    pub fn order(&self, column: &str) -> &'static str {
        match self.sorted {
            (sorted, _) if sorted != column => "",
            (_, true) => "descending",
            (_, false) => "ascending",
        }
    }

    /// A link to the list sorted by a column: downwards, if it is sorted upwards by this column already.
    pub fn sort_link(&self, column: &str) -> String {
        let sign = if self.order(column) == "ascending" {
            "-"
        } else {
            ""
        };
        self.with("sort", format!("{sign}{column}"))
    }

    /// A link to the first page of the list with one parameter changed; a blank value removes the parameter.
    pub fn with(&self, name: &str, value: impl Display) -> String {
        let value = value.to_string();
        let mut query = form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
        for (known, text) in &self.parameters {
            if ![name, "page", "start"].contains(&known.as_str()) && !text.trim().is_empty() {
                query.append_pair(known, text);
            }
        }
        if !value.is_empty() {
            query.append_pair(name, &value);
        }
        query.finish()
    }

    /// A link to the same page of the list.
    pub fn here(&self) -> String {
        let page = self.page();
        self.with(
            "page",
            if page == 1 {
                String::new()
            } else {
                page.to_string()
            },
        )
    }

    /// How many filters are set; the search is not counted.
    pub fn filters(&self) -> usize {
        let is_filter = |name: &str| !["q", "page", "start", "below", "sort", "list", "stay"].contains(&name);
        let filters = self.parameters.iter();
        filters
            .filter(|(name, value)| is_filter(name) && !value.trim().is_empty())
            .count()
    }

    /// Whether the list leaves anything out.
    pub fn is_filtered(&self) -> bool {
        self.has_errors() || self.filters() > 0 || self.get("q").is_some()
    }
}

impl From<&str> for Query {
    fn from(query: &str) -> Self {
        let parameters = form_urlencoded::parse(query.as_bytes()).take(PARAMETER_LIMIT);
        // PostgreSQL rejects texts with NUL.
        let parameters = parameters.map(|(name, value)| (name.into_owned(), value.replace('\0', "\u{fffd}")));
        let mut query = Self {
            parameters: parameters.collect(),
            ..Self::default()
        };
        for name in PLACES {
            query.read(name, "follow the links of the list", |text| {
                text.parse::<i64>().ok()
            });
        }
        query
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.uri.query().unwrap_or_default().into())
    }
}

/// The page of a list that is shown, with links to others.
#[derive(Clone, Debug, Default)]
pub struct Pager {
    /// Starts at 1.
    pub page: i64,
    /// The number of pages, if it is known.
    pub pages: Option<i64>,
    /// The number of rows, if it is known.
    pub count: Option<i64>,
    /// Blank on the first page.
    pub previous: String,
    /// Blank on the last page.
    pub next: String,
}

impl Query {
    /// The pager of a list. `rows` has one row more than a page if there is a next page; that row is removed.
    pub fn pager<T>(&self, rows: &mut Vec<T>, count: Option<i64>) -> Pager {
        let more = split_page(rows).is_some();
        let page = self.page();
        let link = |page: i64| {
            if page == 1 {
                self.with("page", "")
            } else {
                self.with("page", page)
            }
        };
        Pager {
            page,
            previous: if page > 1 { link(page - 1) } else { String::new() },
            next: if more { link(page + 1) } else { String::new() },
            ..Pager::of(count)
        }
    }

    /// The pager of a list that is read from a key on. Each link names the first key of its page: `next` is that of the next
    /// page, and `before` has the keys of the previous page, the nearest first. The first page has none.
    pub fn keyed_pager(&self, next: Option<i64>, before: Option<&[i64]>, count: Option<i64>) -> Pager {
        let page = if before.is_some() { self.page() } else { 1 };
        let link = |page: i64, start: i64| format!("{}&start={start}", self.with("page", page));
        Pager {
            page,
            previous: match before {
                None => String::new(),
                Some([.., first]) if page > 2 => link(page - 1, *first),
                Some(_) => self.with("page", ""),
            },
            next: next.map_or(String::new(), |next| link(page + 1, next)),
            ..Pager::of(count)
        }
    }
}

impl Pager {
    fn of(count: Option<i64>) -> Self {
        Self {
            pages: count.map(|count| ((count + PAGE_SIZE - 1) / PAGE_SIZE).max(1)),
            count,
            ..Self::default()
        }
    }
}

/// Takes off the row that is one too many for a page, and returns it.
pub fn split_page<T>(rows: &mut Vec<T>) -> Option<T> {
    let size = usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX);
    let next = (rows.len() > size).then(|| rows.swap_remove(size));
    rows.truncate(size);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_changes_one_parameter_and_returns_to_page_one() {
        let query = Query::from("q=a+b&page=3&store=&sort=-name");
        assert_eq!(query.with("store", 7), "?q=a+b&sort=-name&store=7");
        assert_eq!(query.with("q", ""), "?sort=-name");
        assert_eq!((query.page(), query.offset()), (3, 100));
    }

    #[test]
    fn sort_accepts_known_columns_only() {
        let columns = ["-created", "name"];
        let mut query = Query::from("sort=name&page=2");
        assert_eq!(query.sort(&columns), ("name", false));
        assert_eq!((query.order("name"), query.order("created")), ("ascending", ""));
        assert_eq!(query.sort_link("name"), "?sort=-name");
        assert_eq!(query.sort_link("created"), "?sort=created");
        assert_eq!(Query::from("sort=-name").sort(&columns), ("name", true));
        assert_eq!(Query::from("sort=created").sort(&columns), ("created", false));
        assert_eq!(Query::from("sort=drop").sort(&columns), ("created", true));
    }

    #[test]
    fn extra_row_indicates_a_next_page() {
        let query = Query::from("page=2&q=x");
        let mut rows: Vec<i64> = (0..=PAGE_SIZE).collect();
        let pager = query.pager(&mut rows, Some(200));
        assert_eq!((rows.len(), pager.pages), (50, Some(4)));
        assert_eq!(
            (pager.previous.as_str(), pager.next.as_str()),
            ("?q=x", "?q=x&page=3")
        );
    }
}
