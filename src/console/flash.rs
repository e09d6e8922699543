//! The message about a finished request. A redirect carries it in a signed cookie, and the next page shows it once: a reload
//! or a shared link does not repeat it, and no address can make a page show a text.

use axum::response::{IntoResponse, Redirect, Response};

/// The longest message, in characters. Percent-encoded it still fits a cookie.
const LONGEST: usize = 250;
const GOOD: char = '+';
const WARNING: char = '!';

/// What a request did, for the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// Whether the request did not do what was asked for.
    pub is_warning: bool,
    /// A sentence.
    pub text: String,
}

impl Flash {
    /// The value of its cookie, which the jar percent-encodes.
    pub fn to_cookie(&self) -> String {
        let tone = if self.is_warning { WARNING } else { GOOD };
        let text = self.text.chars().take(LONGEST);
        std::iter::once(tone).chain(text).collect()
    }

    /// The message of a cookie.
    pub fn of_cookie(value: &str) -> Option<Self> {
        let is_warning = value.chars().next()? == WARNING;
        let text = value.get(1..)?.to_owned();
        Some(Self { is_warning, text })
    }

    fn redirect(self, path: &str) -> Response {
        let mut response = Redirect::to(path).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Redirects to a page, which says what was done.
pub fn redirect_with_flash(path: &str, text: impl Into<String>) -> Response {
    let (is_warning, text) = (false, text.into());
    Flash { is_warning, text }.redirect(path)
}

/// Redirects to a page, which says what was not done.
pub fn redirect_with_warning(path: &str, text: impl Into<String>) -> Response {
    let (is_warning, text) = (true, text.into());
    Flash { is_warning, text }.redirect(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_survives_the_cookie_and_is_bounded() {
        let flash = |is_warning, text: String| Flash { is_warning, text };
        for flash in [
            flash(false, "“Lamp; 50 % & more” saved: 40 → 52.".to_owned()),
            flash(true, "a=b\r\nset-cookie: c=d".to_owned()),
            flash(true, String::new()),
        ] {
            assert_eq!(Flash::of_cookie(&flash.to_cookie()), Some(flash));
        }
        assert_eq!(Flash::of_cookie(""), None);
        let long = flash(false, "💡".repeat(10_000)).to_cookie();
        let encoded = 12 * long.chars().count();
        assert!(encoded < 3500, "{encoded} bytes fit a cookie");
    }
}
