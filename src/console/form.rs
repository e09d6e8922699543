//! Forms: typed values and their errors.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::{error::ConsoleError, operator::Operator};
use crate::{
    audit::Actor,
    http::{ApiError, Body, Caller, FieldErrors, FormFields},
    idempotency::{self, KeyedRequest},
};

/// The field with the idempotency key, which is new in every rendered form.
pub const KEY: &str = "idempotency_key";
/// The longest form in bytes, and its most fields: a field takes much more memory than its bytes. An operator may choose thousands
/// of stores or rows, and describe a product at length. Before the login a form has a few short fields, and at most the entry of
/// a session that has ended.
const OF_OPERATORS: (usize, usize) = (1024 * 1024, 10_000);
pub const OF_STRANGERS: (usize, usize) = (64 * 1024, 250);
/// Before the name of a field: the value that the form was rendered with.
pub const WAS: &str = "was.";
/// The message above a form with errors at its fields.
pub const NOT_SAVED: &str = "Not saved. Please correct the fields below.";

/// The value of a checkbox.
pub fn check(is_checked: bool) -> String {
    if is_checked {
        "on".to_owned()
    } else {
        String::new()
    }
}

/// Whether a field has a password, which no page repeats.
pub fn is_password(name: &str) -> bool {
    ["password", "again", "current"].contains(&name)
}

/// How a command reads a field of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// The text as typed, also if blank: the rules of the domain decide about it.
    Text,
    /// The text as typed, left out if blank.
    Optional,
    /// An amount, which may have a decimal comma.
    Amount,
    /// A set of ids with commas between them.
    Ids,
    /// A checkbox, read as a boolean.
    Checkbox,
}

/// An amount with a point in place of a decimal comma. Other commas may separate thousands: they stay, and are errors.
pub fn with_point(amount: &str) -> Cow<'_, str> {
    match amount.split_once(',') {
        Some((whole, decimals)) if decimals.len() <= 2 && !whole.contains('.') => {
            format!("{whole}.{decimals}").into()
        }
        _ => amount.into(),
    }
}

/// The typed values of a form and their errors, as templates show them.
pub struct Form {
    fields: Vec<(String, String)>,
    key: String,
    refusal: Option<ApiError>,
    errors: Vec<(&'static str, String)>,
}

/// Omits the values: one may be a password.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form")
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

impl Form {
    /// A form with these values. A checkbox with a value is checked.
    pub fn of<const N: usize>(fields: [(&str, String); N]) -> Self {
        Self {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            key: Uuid::now_v7().to_string(),
            refusal: None,
            errors: Vec::new(),
        }
    }

    /// Adds a value.
    pub fn and(mut self, name: &str, value: String) -> Self {
        self.fields.push((name.to_owned(), value));
        self
    }

    /// Adds an error of a field, or with a blank name of the whole form.
    pub fn add_error(&mut self, field: &'static str, sentence: impl Into<String>) {
        self.errors.push((field, sentence.into()));
    }

    /// Whether there is no error.
    pub fn is_good(&self) -> bool {
        self.refusal.is_none() && self.errors.is_empty()
    }

    /// The form with the error of a command. 404 if its record is gone.
    pub fn refused(self, error: ApiError) -> Result<Self, ConsoleError> {
        error.log();
        match error.status() {
            StatusCode::NOT_FOUND => Err(ConsoleError::NotFound),
            // The key was used for other values: these need another one.
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Self {
                key: Uuid::now_v7().to_string(),
                refusal: Some(error),
                ..self
            }),
            _ => Ok(Self {
                refusal: Some(error),
                ..self
            }),
        }
    }

    /// Sets a field to one value.
    pub fn set(&mut self, name: &str, value: String) {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value));
    }

    /// All fields whose names `keep` accepts, in order.
    pub fn fields(&self, keep: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter().filter(move |(name, _)| keep(name));
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The values that the form was rendered with, by the names of their hidden fields.
    pub fn originals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields(|name| name.starts_with(WAS))
    }

    /// Adds a field to the input of a command.
    pub fn add_to<'a>(
        &'a self,
        source: FormFields<'a>,
        name: &'static str,
        kind: FieldKind,
    ) -> FormFields<'a> {
        match kind {
            FieldKind::Checkbox => source.checkbox(name, self.is_checked(name)),
            _ if !self.sends(name) => source,
            FieldKind::Optional if self.text(name).trim().is_empty() => source,
            FieldKind::Text | FieldKind::Optional | FieldKind::Ids => source.text(name, self.text(name)),
            FieldKind::Amount => source.text(name, with_point(self.text(name))),
        }
    }

    /// The typed value of a field; blank if absent.
    pub fn text(&self, name: &str) -> &str {
        let last = self.fields.iter().rev().find(|(known, _)| known == name);
        last.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Whether a field was sent, also if it is blank.
    pub fn sends(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// All values of a repeated field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.fields.iter().filter(move |(known, _)| known == name);
        of_name.map(|(_, value)| value.as_str())
    }

    /// Whether a field has this value.
    pub fn has(&self, name: &str, value: impl Display) -> bool {
        self.text(name) == value.to_string()
    }

    /// Whether a checkbox is checked.
    pub fn is_checked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// Whether a repeated field has this value.
    pub fn contains(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|known| known == value)
    }

    /// The idempotency key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The request that a form makes under its key, identified by `purpose` and the values of `fields`. `None` if the key is
    /// invalid.
    pub fn keyed_request(&self, caller: &Caller, purpose: &str, fields: &[&str]) -> Option<KeyedRequest> {
        let actor = &caller.grant.actor;
        if *actor == Actor::Anyone || !idempotency::is_valid(self.key.as_bytes()) {
            return None;
        }
        let mut hash = Xxh3::new();
        hash.update(purpose.as_bytes());
        for (name, value) in self.fields(|name| fields.contains(&name)) {
            hash.update(format!("\n{name}={}:{value}", value.len()).as_bytes());
        }
        Some(KeyedRequest {
            key: idempotency::scoped_key(actor, self.key.clone()),
            fingerprint: hash.digest128().to_be_bytes(),
        })
    }

    /// The error of a field; blank if it has none.
    pub fn error(&self, name: &str) -> String {
        let of_command = match &self.refusal {
            Some(ApiError::Invalid(errors)) => errors.of(name).map(FieldErrors::text),
            _ => None,
        };
        let errors = self.errors.iter().filter(|(field, _)| *field == name);
        let errors = errors.map(|(_, sentence)| sentence.clone());
        of_command.into_iter().chain(errors).collect::<Vec<_>>().join(" ")
    }

    /// The message above the form; blank if there is no error.
    pub fn summary_error(&self) -> String {
        let of_whole = match &self.refusal {
            None => self.error(""),
            Some(ApiError::Invalid(_)) => self.error("non_field_errors"),
            Some(error) => error.text().into_owned(),
        };
        if of_whole.is_empty() && !self.is_good() {
            return NOT_SAVED.to_owned();
        }
        of_whole
    }

    /// The status of the response with this form.
    pub fn status(&self) -> StatusCode {
        match &self.refusal {
            Some(error) => error.status(),
            None if self.is_good() => StatusCode::OK,
            None => StatusCode::BAD_REQUEST,
        }
    }

    /// The page with this form, with that status.
    pub fn shown(&self, page: Response) -> Response {
        (self.status(), page).into_response()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ConsoleError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ConsoleError> {
        let (longest, most_fields) = match request.extensions().get::<Operator>() {
            Some(_) => OF_OPERATORS,
            None => OF_STRANGERS,
        };
        let body = Body::receive(request, longest).await;
        let bytes = body.form().map_err(ConsoleError::Unreadable)?;
        if form_urlencoded::parse(bytes).nth(most_fields).is_some() {
            return Err(ConsoleError::Unreadable(StatusCode::PAYLOAD_TOO_LARGE));
        }
        // Browsers send CRLF. PostgreSQL accepts no zero bytes.
        let fields = form_urlencoded::parse(bytes).map(|(name, value)| {
            (
                name.into_owned(),
                value.replace("\r\n", "\n").replace('\0', "\u{fffd}"),
            )
        });
        let (key, fields): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| name == KEY);
        let key = key.into_iter().next().map(|(_, key)| key);
        Ok(Self {
            fields,
            key: key.unwrap_or_else(|| Uuid::now_v7().to_string()),
            refusal: None,
            errors: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body as Bytes,
        http::{HeaderValue, header},
    };

    use super::*;
    use crate::http::{
        AdmissionControl, AdmissionLimits, FieldSource, Presence, Work, boolean, text_or_blank,
    };

    /// A request that is admitted, as a body needs.
    fn request(body: &'static str) -> Request {
        let mut request = Request::new(Bytes::from(body));
        let permit = AdmissionControl::new(AdmissionLimits::default()).admit(Work::Pooled, None);
        request.extensions_mut().insert(permit.unwrap());
        request
    }

    async fn sent(body: &'static str) -> Form {
        Form::from_request(request(body), &()).await.unwrap()
    }

    #[tokio::test]
    async fn commands_read_texts_and_checkboxes_of_a_form() {
        let form = sent("title=+a%0D%0Ab&price=&low=&active=on&idempotency_key=k").await;
        let source = [
            ("title", FieldKind::Text),
            ("price", FieldKind::Text),
            ("low", FieldKind::Optional),
            ("active", FieldKind::Checkbox),
            ("sold", FieldKind::Checkbox),
        ];
        let source = source
            .into_iter()
            .fold(FormFields::default(), |source, (name, kind)| {
                form.add_to(source, name, kind)
            });
        let mut fields = source.fields(Presence::Partial).unwrap();
        let texts = ["title", "price", "low"].map(|name| fields.optional(name, text_or_blank(9)));
        let flags = ["active", "sold"].map(|name| fields.optional(name, boolean));
        assert_eq!(texts, [Some("a\nb".into()), Some(String::new()), None]);
        assert_eq!((flags, form.key()), ([Some(true), Some(false)], "k"));
    }

    #[tokio::test]
    async fn body_of_another_content_type_is_rejected_with_400() {
        let mut request = request("{}");
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let refused = Form::from_request(request, &()).await;
        assert!(matches!(
            refused,
            Err(ConsoleError::Unreadable(StatusCode::BAD_REQUEST))
        ));
    }

    #[tokio::test]
    async fn rejected_form_keeps_its_values_and_shows_the_errors() {
        let wrong = ApiError::field("price", "Too low.");
        let form = sent("price=0&idempotency_key=k").await.refused(wrong).unwrap();
        assert_eq!(
            (form.text("price"), form.error("price").as_str()),
            ("0", "Too low.")
        );
        assert_eq!(
            form.summary_error(),
            "Not saved. Please correct the fields below."
        );
        assert_eq!((form.error("title").as_str(), form.key()), ("", "k"));

        let taken = ApiError::detail(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Idempotency-Key was used for another request.",
        );
        let form = form.refused(taken).unwrap();
        assert_eq!(
            form.summary_error(),
            "Idempotency-Key was used for another request."
        );
        assert_ne!(form.key(), "k");

        let gone = form.refused(ApiError::NotFound("Product"));
        assert!(matches!(gone, Err(ConsoleError::NotFound)));
    }

    #[test]
    fn a_decimal_comma_is_a_point_and_other_commas_stay() {
        let read = ["12,50", "12,5", "12.50", "1,000", "1.000,50", "1,2,3"].map(with_point);
        assert_eq!(read, ["12.50", "12.5", "12.50", "1,000", "1.000,50", "1,2,3"]);
    }
}
