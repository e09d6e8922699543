//! Why the console has no page to show. Errors are data: the middleware renders them in the frame of the operator.

use std::borrow::Cow;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    auth::{HashError, login::LoginError},
    db,
    http::{ApiError, note_error},
    telemetry::LineLimit,
};

/// Log lines a minute about forms of other sites, and about a database that does not answer.
static FOREIGN_FORMS: LineLimit = LineLimit::new(10);
static FAILURES: LineLimit = LineLimit::new(100);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// 404.
    #[error("there is no such page")]
    NotFound,
    /// 403: the account may not do that.
    #[error("this needs an account that may do it")]
    Forbidden,
    /// 403: a form of another site.
    #[error("the form came from elsewhere")]
    Elsewhere,
    /// What was sent is no form of the console, or too long for one: 400, 408, 413, 415 or 503.
    #[error("the form could not be read")]
    Unreadable(StatusCode),
    /// A command refused what needs no form, with this status and for this reason.
    #[error("{1}")]
    Api(StatusCode, String),
    /// 503: too many passwords wait to be looked at; 500: one could not be.
    #[error(transparent)]
    Password(#[from] HashError),
    /// 503 or 500: the database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<LoginError> for ConsoleError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Password(error) => error.into(),
            LoginError::Database(error) => error.into(),
        }
    }
}

impl From<ApiError> for ConsoleError {
    fn from(error: ApiError) -> Self {
        error.log();
        match error.status() {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::FORBIDDEN => Self::Forbidden,
            status => Self::Api(status, error.text().into_owned()),
        }
    }
}

/// What an error says. It goes with the response, which has no body yet.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What stands above.
    pub heading: &'static str,
    /// What there is to say.
    pub text: Cow<'static, str>,
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        if let Self::Database(error) = &self {
            note_error(error, &mut response);
        }
        let (status, heading, text) = match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Not found",
                "There is nothing here, or nothing that your account may see.".into(),
            ),
            Self::Forbidden => {
                tracing::warn!("a request to the console was refused: the account may not do that");
                (
                    StatusCode::FORBIDDEN,
                    "Not allowed",
                    "Your account may not do this. A superuser can change what it may do.".into(),
                )
            }
            Self::Elsewhere => {
                if let Some(left_out) = FOREIGN_FORMS.admit(None) {
                    tracing::warn!(left_out, "a form that another site sent was refused");
                }
                (
                    StatusCode::FORBIDDEN,
                    "Rejected",
                    "This form was sent from another site. Nothing was changed. Open the page in the console and submit it there.".into(),
                )
            }
            Self::Unreadable(StatusCode::PAYLOAD_TOO_LARGE) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too long",
                "The form is too long. Nothing was changed.".into(),
            ),
            Self::Unreadable(status) => (
                status,
                "Invalid form",
                "The form could not be read. Nothing was changed.".into(),
            ),
            Self::Api(status, reason) if reason.is_empty() => {
                (status, "Not done", "Nothing was changed.".into())
            }
            Self::Api(status, reason) => (status, "Not done", Cow::Owned(reason)),
            Self::Password(HashError::Busy) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again",
                "Too many people are logging in right now. Try again in a moment.".into(),
            ),
            Self::Password(error) => {
                tracing::error!(%error, "a page of the console failed");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something went wrong",
                    "The password could not be checked. Try again.".into(),
                )
            }
            Self::Database(error) => {
                if let Some(left_out) = FAILURES.admit(None) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        left_out,
                        "a page of the console failed"
                    );
                }
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Try again",
                    if db::is_lost_commit(&error) {
                        "The database connection was lost while saving, so it is not known whether the change was saved. Check before you try again.".into()
                    } else {
                        "The database did not answer this request. Nothing was changed.".into()
                    },
                )
            }
        };
        *response.status_mut() = status;
        response.extensions_mut().insert(Explanation { heading, text });
        response
    }
}
