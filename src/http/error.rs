//! All error responses of the API.
//!
//! A client never sees the text of an inner error. It is logged here, once, within the span of its request.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{FieldErrors, StateConflict, note_error};
use crate::{
    db::{self, AsDatabaseError},
    ledger::{Refusal, RefusalCode},
    telemetry::LineLimit,
};

/// Log lines a minute about an unavailable database: any request may cause one.
static OUTAGES: LineLimit = LineLimit::new(100);

/// One second.
const RETRY_SOON: (HeaderName, HeaderValue) = (header::RETRY_AFTER, HeaderValue::from_static("1"));

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the fields of the request, or its parameters, are wrong.
    #[error("invalid fields")]
    Invalid(FieldErrors),
    /// 404: no record of this kind has the id.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Any other error, with a sentence.
    #[error("{1}")]
    Detail(StatusCode, Cow<'static, str>),
    /// 400 with a title and a sentence, as placing an order and autocomplete answer.
    #[error("{error}")]
    ErrorDetail {
        /// The title.
        error: &'static str,
        /// The sentence.
        detail: Option<String>,
    },
    /// 409: the state of a stock row forbids the change.
    #[error("the change of stock was refused")]
    Refused(Refusal),
    /// 409, or the status of the code: the state of a record forbids the request.
    #[error("{}", .0.detail)]
    StateConflict(Box<StateConflict>),
    /// 409: another request with the same idempotency key is in progress.
    #[error("the idempotency key is in use")]
    IdempotencyConflict,
    /// 503: the database is unreachable or overloaded. Nothing was changed.
    #[error("the database is unavailable")]
    Database(#[source] sqlx::Error),
    /// 408: the client sends its body too slowly. The connection is closed, because the rest may still arrive.
    #[error("{0}")]
    TooSlow(&'static str),
    /// 503: a queue is full, or a logged failure of something else. A retry may succeed.
    #[error("{0}")]
    Unavailable(&'static str),
    /// 500: a fault of the server.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// An error with a sentence.
    pub fn detail(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Detail(status, detail.into())
    }

    /// 400 for one field.
    pub fn field(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(FieldErrors::field(name, message))
    }

    /// 400 for the request as a whole.
    pub fn non_field(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(FieldErrors::non_field(message))
    }

    /// 405.
    pub fn not_allowed(method: &Method) -> Self {
        Self::detail(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Method \"{method}\" not allowed."),
        )
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::ErrorDetail { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Detail(status, _) => *status,
            Self::IdempotencyConflict | Self::Refused(_) => StatusCode::CONFLICT,
            Self::StateConflict(conflict) => conflict.code.status(),
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Database(_) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Why the request as a whole was refused; blank where only fields are wrong.
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Invalid(_) => Cow::Borrowed(""),
            Self::NotFound(kind) => format!("No {kind} matches the given query.").into(),
            Self::Detail(_, detail) => detail.clone(),
            Self::ErrorDetail { error, detail } => detail.clone().map_or(Cow::Borrowed(*error), Cow::Owned),
            Self::Refused(refusal) => refusal.detail(),
            Self::StateConflict(conflict) => conflict.detail.clone(),
            Self::IdempotencyConflict => "A request with this Idempotency-Key is under way.".into(),
            Self::TooSlow(detail) | Self::Unavailable(detail) => Cow::Borrowed(detail),
            Self::Database(_) => "Service temporarily unavailable, try again later.".into(),
            Self::Internal(_) => "Internal server error.".into(),
        }
    }

    /// Logs what only operators of the server may see.
    pub fn log(&self) {
        match self {
            Self::Database(error) => {
                if let Some(left_out) = OUTAGES.admit(None) {
                    tracing::error!(
                        error = error as &dyn std::error::Error,
                        left_out,
                        "the database is unavailable"
                    );
                }
            }
            Self::Internal(error) => {
                tracing::error!(error = &**error as &dyn std::error::Error, "a request failed");
            }
            _ => {}
        }
    }

    /// 412: the record is not, or no longer, the one that `If-Match` names.
    pub fn precondition_failed() -> Self {
        Self::detail(
            StatusCode::PRECONDITION_FAILED,
            "This was changed since it was read: If-Match names another ETag. Read it again.",
        )
    }

    /// 404 for an unknown path.
    pub fn not_found() -> Self {
        Self::detail(StatusCode::NOT_FOUND, "Not found.")
    }
}

/// The message for a lost commit.
pub(crate) const OUTCOME_UNKNOWN: &str = "The connection to the database was lost during the commit, so this may or may not have taken effect. Check before retrying, or retry under the same Idempotency-Key.";

impl From<StateConflict> for ApiError {
    fn from(conflict: StateConflict) -> Self {
        Self::StateConflict(Box::new(conflict))
    }
}

impl AsDatabaseError for ApiError {
    fn database_error(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Internal(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            _ if db::is_lost_commit(&error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "connection lost during commit: outcome unknown"
                );
                Self::Unavailable(OUTCOME_UNKNOWN)
            }
            sqlx::Error::PoolClosed | sqlx::Error::Io(_) => Self::Database(error),
            sqlx::Error::Database(_) if !db::is_server_error(&error) => Self::Database(error),
            _ if db::is_transient(&error) => Self::Database(error),
            _ => Self::Internal(error.into()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let detail = Json(Detail::new(self.text()));
        match self {
            Self::Invalid(errors) => (status, Json(errors)).into_response(),
            Self::ErrorDetail { error, detail } => {
                (status, Json(ErrorDetail { error, detail })).into_response()
            }
            Self::Refused(refusal) => (status, Json(Refused::from(refusal))).into_response(),
            Self::StateConflict(conflict) => (status, Json(conflict)).into_response(),
            Self::IdempotencyConflict | Self::Unavailable(_) => {
                (status, [RETRY_SOON], detail).into_response()
            }
            Self::Database(error) => {
                let mut response = (status, [RETRY_SOON], detail).into_response();
                note_error(&error, &mut response);
                response
            }
            Self::TooSlow(_) => {
                let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
                (status, close, detail).into_response()
            }
            Self::NotFound(_) | Self::Detail(..) | Self::Internal(_) => (status, detail).into_response(),
        }
    }
}

/// The reason of a failure.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
}

impl Detail {
    fn new(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: detail.into(),
        }
    }
}

/// Why a change of stock was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refused {
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    code: RefusalCode,
    /// Current quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<i32>,
    /// Reserved units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reserved: Option<i32>,
    /// Committed units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    committed: Option<i32>,
    /// Id of the stock row, if the request concerns several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    inventory_id: Option<i64>,
    /// Id of the movement.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    movement_id: Option<i64>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            detail: refusal.detail(),
            code: refusal.code,
            quantity: refusal.quantity,
            reserved: refusal.reserved,
            committed: refusal.committed,
            inventory_id: refusal.inventory_id,
            movement_id: refusal.movement_id,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The reason of a failure as a title, and details if there are any.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorDetail {
    #[schema(value_type = String)]
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}
