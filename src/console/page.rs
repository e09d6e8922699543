//! The frame around a page, and what is shown instead of one.

use std::borrow::Cow;

use askama::Template;
use axum::{
    extract::{FromRequestParts, Path},
    http::{Method, StatusCode, Uri, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{flash, operator::Operator, query::Query};
use crate::{
    auth::{HashError, Scope, login::LoginError},
    db,
    http::{ApiError, ScansBusy, note_error},
    telemetry::LineLimit,
};

/// The frame around a page. Templates extend `frame.html` and have a field `frame` of this type.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Of the window.
    pub title: String,
    /// Which entry of the menu is the current one, by its path.
    pub section: &'static str,
    /// Whoever is logged in; on the pages before the login nobody.
    pub operator: Option<Operator>,
    /// What was done by the request before this one.
    pub notice: Option<String>,
}

/// An entry of the menu.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it leads.
    pub path: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// Its symbol in `icons.svg`.
    pub icon: &'static str,
}

const MENU: [Entry; 9] = [
    Entry {
        path: "/admin/",
        label: "Overview",
        icon: "overview",
    },
    Entry {
        path: "/admin/orders/",
        label: "Orders",
        icon: "orders",
    },
    Entry {
        path: "/admin/stock/",
        label: "Stock",
        icon: "stock",
    },
    Entry {
        path: "/admin/products/",
        label: "Products",
        icon: "products",
    },
    Entry {
        path: "/admin/categories/",
        label: "Categories",
        icon: "categories",
    },
    Entry {
        path: "/admin/stores/",
        label: "Stores",
        icon: "stores",
    },
    Entry {
        path: "/admin/jobs/",
        label: "Jobs",
        icon: "jobs",
    },
    Entry {
        path: "/admin/audit/",
        label: "Audit",
        icon: "audit",
    },
    Entry {
        path: "/admin/system/",
        label: "System",
        icon: "system",
    },
];

/// What only who looks after accounts is shown.
const ACCESS: Entry = Entry {
    path: "/admin/access/",
    label: "Accounts and keys",
    icon: "access",
};

impl Frame {
    /// The frame of a page of the console.
    pub fn new(operator: &Operator, section: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section,
            operator: Some(operator.clone()),
            notice: None,
        }
    }

    /// The frame of a page for those who are not logged in.
    pub fn alone(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: "",
            operator: None,
            notice: None,
        }
    }

    /// The same, with what the request before this one has done.
    #[must_use]
    pub fn after(self, query: &Query) -> Self {
        Self {
            notice: flash::notice(query.text("done")),
            ..self
        }
    }

    /// Whether whoever is logged in sees all stores.
    #[must_use]
    pub fn sees_all_stores(&self) -> bool {
        let operator = self.operator.as_ref();
        operator.is_some_and(|operator| operator.caller.grant.stores.are_all())
    }

    /// The menu for whoever is logged in.
    #[must_use]
    pub fn menu(&self) -> Vec<Entry> {
        let mut menu = MENU.to_vec();
        let Some(operator) = &self.operator else {
            return menu;
        };
        if operator.may(Scope::Admin) {
            menu.insert(7, ACCESS);
        }
        menu.retain(|entry| entry.icon != "audit" || operator.sees_audit());
        menu
    }
}

/// Makes a template a response.
pub fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Log lines a minute about forms of other sites, and about a database that does not answer.
static FOREIGN_FORMS: LineLimit = LineLimit::new(10);
static FAILURES: LineLimit = LineLimit::new(100);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
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

impl From<ScansBusy> for Refusal {
    fn from(busy: ScansBusy) -> Self {
        Self::Api(StatusCode::SERVICE_UNAVAILABLE, busy.to_string())
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Password(error) => error.into(),
            LoginError::Database(error) => error.into(),
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        error.log();
        match error.status() {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::FORBIDDEN => Self::Forbidden,
            status => Self::Api(status, error.text().into_owned()),
        }
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    frame: Frame,
    heading: &'static str,
    text: Cow<'static, str>,
}

/// What a refusal says: it goes with the response, to be said in the frame of whoever is logged in.
#[derive(Clone, Debug)]
struct Said {
    heading: &'static str,
    text: Cow<'static, str>,
}

impl Said {
    fn page(self, frame: Frame) -> Response {
        render(&RefusalPage {
            frame,
            heading: self.heading,
            text: self.text,
        })
    }
}

/// Gives a refusal the frame of whoever is logged in: it knew only that it was none of their pages. Any other response stays
/// as it is.
pub fn framed(mut response: Response, operator: &Operator) -> Response {
    let Some(said) = response.extensions_mut().remove::<Said>() else {
        return response;
    };
    let frame = Frame::new(operator, "", said.heading);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, said.page(frame).into_body())
}

/// A page is asked for where there are only forms to be sent to: it was loaded anew after a form was refused, say. What it
/// was about is one step up.
pub async fn one_step_up(method: Method, uri: Uri) -> Response {
    let up = uri.path().trim_end_matches('/').rsplit_once('/');
    match up {
        Some((up, _)) if [Method::GET, Method::HEAD].contains(&method) => {
            Redirect::to(&format!("{up}/")).into_response()
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, Refusal::NotFound).into_response(),
    }
}

impl IntoResponse for Refusal {
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
                    "Not from here",
                    "This form was sent by another site, and nothing was done. Open the page in the console and send it there.".into(),
                )
            }
            Self::Unreadable(StatusCode::PAYLOAD_TOO_LARGE) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too long",
                "What was sent is longer than a form may be. Nothing was changed.".into(),
            ),
            Self::Unreadable(status) => (
                status,
                "Not understood",
                "What was sent could not be read as a form. Nothing was changed.".into(),
            ),
            Self::Api(status, reason) if reason.is_empty() => {
                (status, "Not done", "Nothing was changed.".into())
            }
            Self::Api(status, reason) => (status, "Not done", Cow::Owned(reason)),
            Self::Password(HashError::Busy) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again",
                "Many log in at this moment. Nothing was changed.".into(),
            ),
            Self::Password(error) => {
                tracing::error!(%error, "a page of the console failed");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "This went wrong",
                    "The password could not be looked at. Nothing was changed.".into(),
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
                        "The connection to the database was lost in the moment of the commit: whether this was done is not known. Look before you try again.".into()
                    } else {
                        "The database did not answer this request. Nothing was changed.".into()
                    },
                )
            }
        };
        let said = Said { heading, text };
        let noted = std::mem::take(response.extensions_mut());
        let mut response = said.clone().page(Frame::alone(heading));
        *response.status_mut() = status;
        response.extensions_mut().extend(noted);
        response.extensions_mut().insert(said);
        response
    }
}

/// The id in a path. What is no number names nothing.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or(Refusal::NotFound)
    }
}
