//! The console at `/admin/`: what operators see of stores, stock, orders and jobs, and what they do with them.
//!
//! Pages are HTML that a browser without JavaScript can use: every control is a link or a form. htmx makes lists live and
//! saves reloads. Forms call the commands of the domains, as the API does: there is one way to write, and one set of rules.
//!
//! | part | what it is |
//! |---|---|
//! | `console` | what all pages share |
//! | `session` | the cookie of a browser, and its account |
//! | `resume` | a form that was sent after its session had ended |
//! | `operator` | who is logged in |
//! | `error` | why there is no page |
//! | `flash` | the message of a finished request, shown once by the next page |
//! | `form` | what was typed into a form, and what is wrong with it |
//! | `edit` | which fields of a form were changed, and conflicts with changes of others |
//! | `resource` | what the pages of categories, products and stores share |
//! | `chart` | charts as SVG |
//! | `options` | what controls offer to choose from |
//! | `low` | low and empty stock, as all pages count it |
//! | `page` | the frame around a page, and its refusals |
//! | `query` | the query of a list: page, sort, filters, and links that change one of them |
//! | `return_to` | the list that a record was opened from |
//! | `format` | timestamps, amounts and texts as pages show them |
//! | `assets` | style sheet, scripts, icon |

mod access;
mod account;
mod assets;
mod audit;
mod bulk;
mod categories;
mod chart;
mod confirm;
mod edit;
mod error;
mod flash;
mod form;
mod format;
mod jobs;
mod login;
mod low;
mod new_password;
mod operator;
mod options;
mod orders;
mod overview;
mod page;
mod products;
mod query;
mod resource;
mod resume;
mod return_to;
mod session;
mod setup;
mod state;
mod stock;
mod stores;
mod stream_guard;
mod system;
mod transfers;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::any,
};
use tower_http::csrf::CsrfLayer;

pub use error::ConsoleError;
pub use operator::Operator;
pub use page::Frame;
pub use state::Console;

use crate::http::{self, AppState};
use redis_rate_limit::RateLimitLayer;

/// Nothing but what this server has, and no script or style within a page.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'",
);

/// The routes of the console; `logins` limits how often a client may try to log in.
pub fn router(console: Console, logins: RateLimitLayer) -> Router<AppState> {
    let pages = Router::new()
        .merge(overview::router())
        .merge(products::router())
        .merge(categories::router())
        .merge(stores::router())
        .merge(jobs::router())
        .merge(audit::router())
        .merge(system::router())
        .merge(orders::router())
        .merge(stock::router())
        .merge(transfers::router())
        .merge(bulk::router())
        .merge(access::router())
        .merge(account::router())
        .route("/admin/{*path}", any(async || ConsoleError::NotFound))
        .method_not_allowed_fallback(page::one_step_up);
    let pages = pages
        .layer(from_fn(login::require))
        // Only these pages need no login.
        .merge(login::router(&console, logins))
        .merge(setup::router());
    let pages = match &console.app.database.replicas {
        Some(replicas) => pages
            .layer(from_fn_with_state(replicas.clone(), http::route_reads))
            .layer(from_fn(session::carry_position)),
        None => pages,
    };
    pages
        .layer(from_fn_with_state(console.clone(), session::carry_flash))
        .layer(from_fn_with_state(console.clone(), session::read))
        .layer(from_fn(http::retry_read))
        .layer(CsrfLayer::new().with_rejection_response(|_| ConsoleError::Elsewhere.into_response()))
        .layer(map_response(async |response| page::error_page(response, None)))
        .layer(tower::util::MapResponseLayer::new(add_headers))
        .layer(tower::util::MapRequestLayer::new(session::keep_own_cookies))
        .merge(assets::router())
        .with_state(console)
}

fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    // What one operator sees is for no other, and not to be had by going back after logging out.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(HeaderName::from_static("permissions-policy"))
        .or_insert(HeaderValue::from_static("interest-cohort=()"));
    response
}
