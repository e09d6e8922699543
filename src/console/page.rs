//! The frame around a page, and the page of an error.

use std::{borrow::Cow, sync::Arc};

use askama::Template;
use axum::{
    extract::{FromRequestParts, Path},
    http::{Method, StatusCode, Uri, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{
    error::{ConsoleError, Explanation},
    flash::Flash,
    operator::Operator,
};
use crate::auth::Scope;

/// The frame around a page. Templates extend `frame.html` and have a field `frame` of this type.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Of the window.
    pub title: String,
    /// Which entry of the menu is the current one, by its path.
    pub section: &'static str,
    /// The operator; `None` before the login.
    pub operator: Option<Operator>,
    /// The message of the previous request.
    pub flash: Option<Arc<Flash>>,
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

const MENU: [Entry; 10] = [
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
        path: "/admin/transfers/",
        label: "Transfers",
        icon: "transfers",
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

/// The entry for superusers.
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
            flash: operator.flash.clone(),
        }
    }

    /// The frame of a page for those who are not logged in.
    pub fn alone(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: "",
            operator: None,
            flash: None,
        }
    }

    /// Whether the operator sees all stores.
    pub fn sees_all_stores(&self) -> bool {
        let operator = self.operator.as_ref();
        operator.is_some_and(|operator| operator.caller.grant.stores.are_all())
    }

    /// The menu of the operator.
    pub fn menu(&self) -> Vec<Entry> {
        let mut menu = MENU.to_vec();
        let Some(operator) = &self.operator else {
            return menu;
        };
        if operator.may(Scope::Admin) {
            menu.insert(8, ACCESS);
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

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    heading: &'static str,
    text: Cow<'static, str>,
}

/// Renders the page of an error in the frame of the operator, if there is one. Any other response stays as it is.
pub fn error_page(mut response: Response, operator: Option<&Operator>) -> Response {
    let Some(Explanation { heading, text }) = response.extensions_mut().remove() else {
        return response;
    };
    let frame = match operator {
        Some(operator) => Frame::new(operator, "", heading),
        None => Frame::alone(heading),
    };
    let page = render(&ErrorPage { frame, heading, text });
    let (mut parts, _) = response.into_parts();
    let (rendered, body) = page.into_parts();
    parts.headers.extend(rendered.headers);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

/// Redirects a GET of a path that only takes POST, such as a reload after a rejected form, to the parent path: the page of the
/// record.
pub async fn one_step_up(method: Method, uri: Uri) -> Response {
    let up = uri.path().trim_end_matches('/').rsplit_once('/');
    match up {
        Some((up, _)) if [Method::GET, Method::HEAD].contains(&method) => {
            Redirect::to(&format!("{up}/")).into_response()
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, ConsoleError::NotFound).into_response(),
    }
}

/// The id in a path; 404 if it is not a number.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ConsoleError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ConsoleError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or(ConsoleError::NotFound)
    }
}
