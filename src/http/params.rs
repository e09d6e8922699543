//! What a request says in its URL: the id of a record, and query parameters.

use std::{borrow::Cow, convert::Infallible};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{StatusCode, request::Parts},
};

use super::{
    ApiError, FieldErrors,
    number::{Scientific, sign_and_digits},
    rules::trim,
};

/// The id of a record in a path: any digits. 0, which no record has, where no record could have that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for RecordId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found())?;
        let id = params
            .iter()
            .find(|(name, _)| *name == "id")
            .map(|(_, id)| id)
            .unwrap_or_default();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ApiError::not_found());
        }
        Ok(Self(id.parse().unwrap_or(0)))
    }
}

/// The longest query string that is read, in bytes, and the most parameters.
const QUERY_LIMIT: usize = 8 * 1024;
pub(crate) const PARAMETER_LIMIT: usize = 256;

/// Refuses a query string that is longer than any that makes sense: each parameter takes much more memory than it has
/// bytes.
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

/// The parameters of a query string. Of a repeated one, the last counts.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    errors: Vec<(&'static str, FieldErrors)>,
}

impl Params {
    /// Reads a raw query string.
    #[must_use]
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

    /// A parameter as it was sent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is searched for: trimmed, `None` when blank.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let text = trim(self.get(name)?).to_owned();
        if text.contains('\0') {
            self.errors
                .push((name, FieldErrors::message("Null characters are not allowed.")));
            return None;
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// The id of a record to filter by; `None` when empty. 0, which no record has, for an integer that is no possible id.
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

    /// An amount to compare prices with, as a text that PostgreSQL reads as `numeric`. What is no finite number is ignored.
    #[must_use]
    pub fn amount(&self, name: &str) -> Option<String> {
        let text = trim(self.get(name)?);
        let magnitude = Scientific::parse(text)
            .filter(|_| text.len() <= 1000)?
            .magnitude();
        // What a double can hold, and what the original could compare with.
        match magnitude {
            ..-308 => Some("0".to_owned()),
            -308..=308 => Some(text.to_owned()),
            _ => None,
        }
    }

    /// Whether a parameter is `true`, in any case.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Ends the reading: `read`, unless a parameter was wrong.
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

/// The refusal of a page that does not exist, or is no number.
pub(super) fn invalid_page() -> ApiError {
    ApiError::detail(StatusCode::NOT_FOUND, "Invalid page.")
}
