//! The URL of a list, and the URLs of its other pages.

use axum::http::{header, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Client, Params};

/// All but unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');

/// Scheme and host of the links in an answer, as the client sees them.
pub fn base_url(parts: &Parts) -> String {
    let client = parts.extensions.get::<Client>();
    let scheme = if client.is_some_and(|client| client.is_tls) {
        "https"
    } else {
        "http"
    };
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// The URL of a list.
#[derive(Debug)]
pub(super) struct ListUrl {
    /// Scheme, host and path.
    address: String,
    params: Params,
}

impl ListUrl {
    /// The URL of a request, as its client sees it.
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            address: format!("{}{}", base_url(parts), parts.uri.path()),
            params: Params::parse(parts.uri.query().unwrap_or_default()),
        }
    }

    /// A parameter as it was sent; of several, the last.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// The URL of another page: the parameters of the request, sorted by name, with another position.
    pub(super) fn link(&self, place: Option<(&str, &str)>) -> String {
        let others = self
            .params
            .pairs()
            .filter(|(name, _)| !["page", "cursor"].contains(name));
        let mut pairs: Vec<_> = others.chain(place).collect();
        pairs.sort_by_key(|(name, _)| *name);
        let mut link = self.address.clone();
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            link.push(if index == 0 { '?' } else { '&' });
            push_encoded(&mut link, name);
            link.push('=');
            push_encoded(&mut link, value);
        }
        link
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

    #[test]
    fn links_keep_other_parameters_sorted_and_encoded() {
        let (parts, ()) = Request::get("/api/x/?store_id=&q=a%20b%2B*~&page=9&cursor=x&page=2&b=2&b=1")
            .header("host", "shop.example:8000")
            .body(())
            .unwrap()
            .into_parts();
        let url = ListUrl::of(&parts);
        for (place, query) in [
            (None, "b=2&b=1&q=a+b%2B%2A~&store_id="),
            (Some(("page", "3")), "b=2&b=1&page=3&q=a+b%2B%2A~&store_id="),
            (
                Some(("cursor", "W-_")),
                "b=2&b=1&cursor=W-_&q=a+b%2B%2A~&store_id=",
            ),
        ] {
            assert_eq!(
                url.link(place),
                format!("http://shop.example:8000/api/x/?{query}")
            );
        }
    }
}
