//! The body of a request. It is received before the handler runs, and validated when the handler asks for it: an unknown
//! record is a 404 whatever the body contains.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use serde_json::value::RawValue;

use super::{
    ApiError, FieldSource, Fields, Permit, Presence,
    fields::Members,
    receive::{BODY_LIMIT, BodyError, receive},
    value::{Object, Value, object},
};

/// Maximum nesting of lists and objects, about that of the original's parser. None of the readers recurses.
const DEEPEST: usize = 900;

/// A request's body before validation. A middleware may receive it and pass it on as an extension.
#[derive(Clone, Debug)]
pub struct Body {
    content_type: String,
    /// The content encoding, if any.
    coding: Option<String>,
    bytes: Result<Bytes, BodyError>,
}

impl Body {
    /// The bytes, if they were received.
    pub fn received(&self) -> Option<&[u8]> {
        self.bytes.as_deref().ok()
    }

    /// Receives the body of a request, if it is no longer than `limit` bytes.
    pub async fn receive(request: Request, limit: usize) -> Self {
        let (mut parts, body) = request.into_parts();
        let content_type = text(&parts.headers, header::CONTENT_TYPE).unwrap_or_default();
        let coding = text(&parts.headers, header::CONTENT_ENCODING)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        let bytes = match parts.extensions.remove::<Permit>() {
            Some(permit) => receive(&permit, body, limit).await,
            // Only admitted writes have a body.
            None => Err(BodyError::Unreadable),
        };
        Self {
            content_type,
            coding,
            bytes,
        }
    }

    /// The bytes of a form, or the status of its refusal.
    pub fn form(&self) -> Result<&[u8], StatusCode> {
        let is_form = self.content_type.is_empty()
            || self.content_type.starts_with("application/x-www-form-urlencoded");
        match &self.bytes {
            Err(BodyError::TooLarge) => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Err(BodyError::TooSlow) => Err(StatusCode::REQUEST_TIMEOUT),
            Err(BodyError::Overloaded(_)) => Err(StatusCode::SERVICE_UNAVAILABLE),
            Ok(_) if self.coding.is_some() => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Ok(bytes) if is_form => Ok(bytes),
            Ok(_) | Err(BodyError::Unreadable) => Err(StatusCode::BAD_REQUEST),
        }
    }
}

impl FieldSource for Body {
    /// The members of the JSON object in the body; an empty body is an empty object.
    fn fields(&self, presence: Presence) -> Result<Fields<'_>, ApiError> {
        let bytes = self.bytes.as_ref().map_err(|fault| ApiError::from(*fault))?;
        if bytes.is_empty() {
            return Ok(Fields::new(Members::Json(Object::default()), presence));
        }
        if let Some(coding) = &self.coding {
            return Err(ApiError::detail(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("Unsupported content encoding \"{coding}\" in request."),
            ));
        }
        if !is_json(&self.content_type) {
            return Err(ApiError::detail(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("Unsupported media type \"{}\" in request.", self.content_type),
            ));
        }
        let raw = parse(bytes).map_err(|error| {
            ApiError::detail(StatusCode::BAD_REQUEST, format!("JSON parse error - {error}"))
        })?;
        match Value::of(raw) {
            Value::Object(raw) => object(raw)
                .map(|members| Fields::new(Members::Json(members), presence))
                .map_err(|error| {
                    ApiError::detail(StatusCode::BAD_REQUEST, format!("JSON parse error - {error}"))
                }),
            Value::Null => Err(ApiError::non_field("No data provided")),
            other => Err(ApiError::non_field(format!(
                "Invalid data. Expected a dictionary, but got {}.",
                other.type_name()
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Infallible;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Infallible> {
        if let Some(body) = request.extensions_mut().remove::<Arc<Self>>() {
            return Ok(Arc::unwrap_or_clone(body));
        }
        Ok(Self::receive(request, BODY_LIMIT).await)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[derive(Debug, thiserror::Error)]
enum ParseError {
    #[error("invalid UTF-8 at line {line} column {column}")]
    Utf8 { line: usize, column: usize },
    #[error("nested deeper than {DEEPEST} levels at line {line} column {column}")]
    TooDeep { line: usize, column: usize },
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
}

fn parse(bytes: &[u8]) -> Result<&RawValue, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(bytes, error.valid_up_to());
        ParseError::Utf8 { line, column }
    })?;
    let raw = serde_json::from_str(text)?;
    check_depth(bytes)?;
    Ok(raw)
}

/// Refuses a body that nests too deep: the parser does not limit raw values.
fn check_depth(json: &[u8]) -> Result<(), ParseError> {
    let (mut depth, mut in_text) = (0_usize, false);
    let mut bytes = json.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth -= 1,
            _ => {}
        }
        if depth > DEEPEST {
            let (line, column) = place(json, at);
            return Err(ParseError::TooDeep { line, column });
        }
    }
    Ok(())
}

/// Line and column of a byte, both from 1.
fn place(bytes: &[u8], at: usize) -> (usize, usize) {
    let mut lines = bytes[..at].split(|byte| *byte == b'\n');
    let last = lines.next_back().unwrap_or_default();
    (lines.count() + 1, last.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &[u8]) -> String {
        parse(json).unwrap_err().to_string()
    }

    #[test]
    fn invalid_json_is_rejected_with_line_and_column() {
        assert_eq!(
            message(b"{\"a\":\n 1,}"),
            "key must be a string at line 2 column 4"
        );
        assert_eq!(message(b"\xEF\xBB\xBF{}"), "expected value at line 1 column 1");
        assert_eq!(message(b"{\"a\":\xFF}"), "invalid UTF-8 at line 1 column 6");
        assert!(message(b"NaN").contains("line 1"));
        assert!(message(b"  ").contains("EOF"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(
            message(format!("{}{}", "[".repeat(901), "]".repeat(901)).as_bytes()).contains("nested deeper")
        );
        assert!(parse(format!("[\"{}\",1]", "[".repeat(5000)).as_bytes()).is_ok());
    }
}
