//! What a page says about the request before it, and redirects to such a page.

use axum::response::{IntoResponse, Redirect, Response};

/// What the previous request did, by the word in `done=`: a page shows no text that comes with its address. Where the text is
/// blank, the page has its own.
const NOTICES: &[(&str, &str)] = &[
    ("created", "Created."),
    ("saved", "Saved."),
    ("activated", "Activated."),
    ("deactivated", "Deactivated."),
    ("deleted", "Deleted."),
    ("revoked", "Revoked."),
    (
        "password-changed",
        "Your password was changed. Everybody else who was logged in with it is no longer.",
    ),
    ("session-ended", "The session was ended."),
    ("confirmed", "The order was placed and confirmed."),
    ("rejected", ""),
    ("moved", "The stock was changed, and the ledger tells of it."),
    ("retried", "It is tried again."),
    ("all-retried", "All of them are tried again."),
    (
        "half-retried",
        "What PostgreSQL has is tried again. Redis did not answer: its dead jobs may be as they were.",
    ),
    ("dropped", "Dropped for good."),
    (
        "started",
        "The run is queued. It begins as soon as a worker is free.",
    ),
    ("none", "Nothing was there to be done."),
];

/// The notice of a word.
pub fn notice(done: &str) -> Option<String> {
    let known = NOTICES.iter().find(|(word, _)| *word == done);
    known
        .map(|(_, text)| (*text).to_owned())
        .filter(|text| !text.is_empty())
}

/// Goes on to a page, which says what was done.
pub fn redirect_with_flash(path: &str, word: &'static str) -> Response {
    debug_assert!(
        NOTICES.iter().any(|(known, _)| *known == word),
        "`{word}` is in the table of notices"
    );
    let separator = match path.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    Redirect::to(&format!("{path}{separator}done={word}")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn unknown_notice_in_the_url_is_not_shown() {
        assert_eq!(notice("saved").as_deref(), Some("Saved."));
        assert_eq!(notice("<b>sold</b>"), None);
        let there = redirect_with_flash("/admin/products/?page=2", "saved");
        assert_eq!(
            there.headers()[header::LOCATION],
            "/admin/products/?page=2&done=saved"
        );
    }
}
