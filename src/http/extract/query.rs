//! Query parameters.

use std::{borrow::Cow, convert::Infallible};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use chrono::DateTime;
use rust_decimal::Decimal;

use crate::{
    http::{
        ApiError, FieldErrors,
        number::{Scientific, sign_and_digits},
        rules::{Ruled, code_of_text, trim},
    },
    timestamp::Timestamp,
};

/// The longest query string that is read, in bytes, and the most parameters.
const QUERY_LIMIT: usize = 8 * 1024;
pub const PARAMETER_LIMIT: usize = 256;
/// The longest decimal number that is read, in bytes.
const LONGEST_DECIMAL: usize = 30;

/// Refuses a query string that is too long: each parameter takes much more memory than it has bytes.
pub fn check_query(query: &str) -> Result<(), ApiError> {
    if query.len() > QUERY_LIMIT {
        return Err(ApiError::detail(
            StatusCode::URI_TOO_LONG,
            "Query string exceeds 8 KiB.",
        ));
    }
    if query.bytes().filter(|byte| *byte == b'&').count() >= PARAMETER_LIMIT {
        return Err(ApiError::detail(
            StatusCode::BAD_REQUEST,
            format!("Query string has more than {PARAMETER_LIMIT} parameters."),
        ));
    }
    Ok(())
}

/// The parameters of a query string. The last of several with the same name counts.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    errors: Vec<(&'static str, FieldErrors)>,
}

impl Params {
    /// Reads a raw query string.
    pub fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes())
            .take(PARAMETER_LIMIT)
            .map(|(name, value)| (Cow::into_owned(name), Cow::into_owned(value)))
            .collect();
        Self {
            pairs,
            errors: Vec::new(),
        }
    }

    /// All parameters, in the sequence of the query string.
    pub(in crate::http) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter as it was sent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A search text: trimmed, `None` when blank.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let text = trim(self.get(name)?).to_owned();
        if text.contains('\0') {
            self.errors
                .push((name, FieldErrors::message("Null characters are not allowed.")));
            return None;
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// The codes of products to filter by: at most `most`.
    pub fn codes(&mut self, name: &'static str, most: usize) -> Vec<String> {
        let sent = self.pairs.iter().filter(|(known, _)| known == name);
        let codes = sent
            .map(|(_, text)| code_of_text(text))
            .collect::<Ruled<Vec<_>>>();
        let codes = codes.and_then(|codes| {
            if codes.len() > most {
                return Err(format!("Send at most {most} of them.").into());
            }
            Ok(codes)
        });
        codes
            .map_err(|message| self.errors.push((name, FieldErrors::message(message))))
            .unwrap_or_default()
    }

    /// The id of a record to filter by; `None` when empty. An integer that cannot be an id is 0, which no record has.
    pub fn id(&mut self, name: &'static str) -> Option<i64> {
        let text = self.get(name).filter(|text| !text.is_empty())?;
        if let Some((negative, digits)) = sign_and_digits(trim(text)) {
            Some(if negative { 0 } else { digits.parse().unwrap_or(0) })
        } else {
            self.errors
                .push((name, FieldErrors::message("A valid integer is required.")));
            None
        }
    }

    /// A time to filter by; `None` when empty.
    pub fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.get(name).filter(|text| !text.is_empty())?;
        let time = DateTime::parse_from_rfc3339(trim(text)).ok();
        if time.is_none() {
            let message = "Send a time such as 2024-01-15T10:30:00Z.";
            self.errors.push((name, FieldErrors::message(message)));
        }
        time.map(|time| Timestamp(time.to_utc()))
    }

    /// One of some words to filter by, in any case; `None` when empty.
    pub fn choice(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.get(name).filter(|text| !text.is_empty())?;
        let known = words.iter().find(|word| word.eq_ignore_ascii_case(text));
        if known.is_none() {
            let message = format!("\"{text}\" is not a valid choice.");
            self.errors.push((name, FieldErrors::message(message)));
        }
        known.copied()
    }

    /// An amount to compare prices with, as a text that PostgreSQL reads as `numeric`. Anything but a finite number is ignored.
    pub fn amount(&self, name: &str) -> Option<String> {
        let text = trim(self.get(name)?);
        let magnitude = Scientific::parse(text)
            .filter(|_| text.len() <= 1000)?
            .magnitude();
        // The range of a double, as in the kept contract.
        match magnitude {
            ..-308 => Some("0".to_owned()),
            -308..=308 => Some(text.to_owned()),
            _ => None,
        }
    }

    /// Whether a parameter is `true`, in any case.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A number; `None` when empty.
    pub fn decimal(&mut self, name: &'static str) -> Option<Decimal> {
        let text = trim(self.get(name)?).to_owned();
        let number = text.parse().ok().filter(|_| text.len() <= LONGEST_DECIMAL);
        if number.is_none() && !text.is_empty() {
            self.reject(name, "A valid number is required.");
        }
        number
    }

    /// All values of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self.pairs.iter().filter(move |(known, _)| known == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// Adds an error.
    pub fn reject(&mut self, name: &'static str, message: impl Into<Cow<'static, str>>) {
        self.errors.push((name, FieldErrors::message(message)));
    }

    /// Returns `read`, unless a parameter was invalid.
    pub fn finish<T>(self, read: T) -> Result<T, ApiError> {
        if self.errors.is_empty() {
            Ok(read)
        } else {
            Err(ApiError::Invalid(FieldErrors::Fields(self.errors)))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

/// 404 for a page that does not exist or is not a number.
pub fn invalid_page() -> ApiError {
    ApiError::detail(StatusCode::NOT_FOUND, "Invalid page.")
}
