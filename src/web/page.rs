//! Pages of a list: 20 rows each, with the exact count and links to the pages beside it.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Problem, Scheme, number::sign_and_digits, params::invalid_page, rules::trim};

/// Rows on a page.
const SIZE: i64 = 20;

/// What stays as it is in a link.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// How many rows the whole list has.
    count: i64,
    /// The URL of the next page.
    #[schema(required = true)]
    next: Option<String>,
    /// The URL of the page before.
    #[schema(required = true)]
    previous: Option<String>,
    /// The rows of this page.
    results: Vec<T>,
}

/// Which page a request asks for, and the URL that it asked with.
#[derive(Debug)]
pub struct PageRequest {
    page: String,
    /// Scheme, host and path.
    address: String,
    parameters: BTreeMap<String, Vec<String>>,
}

/// The rows that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    page: i64,
    pages: i64,
    count: i64,
    /// How many rows to show.
    pub limit: i64,
    /// How many rows come before them.
    pub offset: i64,
}

impl PageRequest {
    /// Finds the page within a list of `count` rows. The first page of an empty list exists, and is empty.
    pub fn window(&self, count: i64) -> Result<Window, Problem> {
        let pages = ((count + SIZE - 1) / SIZE).max(1);
        let page = match trim(&self.page) {
            _ if self.page.is_empty() => 1,
            "last" if self.page == "last" => pages,
            number => match sign_and_digits(number) {
                Some((false, digits)) => digits.parse().map_err(|_| invalid_page())?,
                _ => return Err(invalid_page()),
            },
        };
        if !(1..=pages).contains(&page) {
            return Err(invalid_page());
        }
        Ok(Window {
            page,
            pages,
            count,
            limit: SIZE,
            offset: (page - 1) * SIZE,
        })
    }

    /// The page with its rows.
    #[must_use]
    pub fn answer<T>(&self, window: Window, results: Vec<T>) -> Page<T> {
        Page {
            count: window.count,
            next: (window.page < window.pages).then(|| self.link(window.page + 1)),
            previous: (window.page > 1).then(|| self.link(window.page - 1)),
            results,
        }
    }

    /// The URL of a page: the parameters that were sent, sorted by name. The first page is the list itself.
    fn link(&self, page: i64) -> String {
        let mut parameters = self.parameters.clone();
        parameters.remove("page");
        if page > 1 {
            parameters.insert("page".to_owned(), vec![page.to_string()]);
        }
        let mut link = self.address.clone();
        let mut separator = '?';
        for (name, values) in &parameters {
            for value in values {
                link.push(separator);
                separator = '&';
                push_encoded(&mut link, name);
                link.push('=');
                push_encoded(&mut link, value);
            }
        }
        link
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let scheme = parts.extensions.get::<Scheme>().copied().unwrap_or_default();
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost");
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            parameters
                .entry(name.into_owned())
                .or_default()
                .push(value.into_owned());
        }
        let page = parameters
            .get("page")
            .and_then(|pages| pages.last())
            .cloned()
            .unwrap_or_default();
        Ok(Self {
            page,
            address: format!("{}://{host}{}", scheme.as_str(), parts.uri.path()),
            parameters,
        })
    }
}

fn push_encoded(link: &mut String, text: &str) {
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            link.push('+');
        }
        link.extend(utf8_percent_encode(word, ENCODED));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn request(url: &str) -> PageRequest {
        let (mut parts, ()) = Request::get(url)
            .header("host", "shop.example:8000")
            .body(())
            .unwrap()
            .into_parts();
        PageRequest::from_request_parts(&mut parts, &()).await.unwrap()
    }

    #[tokio::test]
    async fn links_keep_the_parameters_sorted_and_encoded() {
        let request = request("/api/x/?store_id=&q=a%20b%2B*~&page=9&page=2&b=2&b=1").await;
        let page: Page<()> = request.answer(request.window(50).unwrap(), vec![]);
        assert_eq!(
            page.next.unwrap(),
            "http://shop.example:8000/api/x/?b=2&b=1&page=3&q=a+b%2B%2A~&store_id="
        );
        assert_eq!(
            page.previous.unwrap(),
            "http://shop.example:8000/api/x/?b=2&b=1&q=a+b%2B%2A~&store_id="
        );
    }

    #[tokio::test]
    async fn pages_are_numbers_from_one_or_the_last() {
        for (page, offset) in [
            ("", Some(0)),
            ("last", Some(40)),
            ("%202", Some(20)),
            ("%2B2", Some(20)),
            ("007", None),
        ] {
            let found = request(&format!("/api/x/?page={page}")).await.window(50);
            assert_eq!(found.ok().map(|window| window.offset), offset, "{page}");
        }
        for page in ["0", "-1", "abc", "1.0", "4", "99999999999999999999", "1_0", "%00"] {
            assert!(
                request(&format!("/api/x/?page={page}")).await.window(50).is_err(),
                "{page}"
            );
        }
        assert_eq!(request("/api/x/").await.window(0).unwrap().offset, 0);
    }
}
