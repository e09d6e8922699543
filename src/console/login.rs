//! `/admin/login/` and `/admin/logout/`, and the requests that need a login.

use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery},
    middleware::{Next, from_fn_with_state, map_response},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::SignedCookieJar;
use form_urlencoded::byte_serialize;
use sqlx::PgPool;

use super::{
    error::{ConsoleError, Explanation},
    form::Form,
    operator::Operator,
    page::{Frame, render},
    query::Query,
    resume::{Change, Entry, Late},
    session::{Current, LOGIN, SessionCookie, Visitor},
    state::Console,
};
use crate::auth::{
    account,
    login::{Credentials, Login},
};
use redis_rate_limit::RateLimitLayer;

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    frame: Frame,
    /// With the page after the login in `next`, and an entry that is kept in `entry`.
    form: &'a Form,
    /// Whether there is no account yet.
    is_new: bool,
    /// Whether the browser had a session, which has ended.
    is_ended: bool,
    /// An entry that is too long to keep.
    lost: Option<Vec<Change>>,
}

pub fn router(console: &Console, limit: RateLimitLayer) -> Router<Console> {
    let throttle = from_fn_with_state(console.clone(), refuse_throttled);
    Router::new()
        .route(
            "/admin/login/",
            // Refusing from memory comes first: it costs least.
            get(show).merge(
                post(log_in)
                    .layer(limit)
                    .layer(map_response(as_page))
                    .layer(throttle),
            ),
        )
        .route("/admin/logout/", post(log_out))
}

async fn show(
    State(db): State<PgPool>,
    operator: Option<Operator>,
    Visitor(visit): Visitor,
    query: Query,
) -> Result<Response, ConsoleError> {
    let next = after(query.text("next"));
    if operator.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    let is_new = !account::exist(&db).await?;
    let form = Form::of([("next", next.to_owned())]);
    Ok(page(&form, is_new, visit.token.is_some()))
}

/// Refuses logins from an address that is known to be throttled, before their form is received.
async fn refuse_throttled(
    State(console): State<Console>,
    Visitor(visit): Visitor,
    request: Request,
    next: Next,
) -> Response {
    match console.logins.address_wait(&visit) {
        Some(seconds) => refused(Form::of([]), seconds, NOT_READ),
        None => next.run(request).await,
    }
}

/// Turns the response of the rate limit, which is JSON, into a page.
async fn as_page(response: Response) -> Response {
    let json = HeaderValue::from_static("application/json");
    if response.headers().get(header::CONTENT_TYPE) != Some(&json) {
        return response;
    }
    let (mut limited, _) = response.into_parts();
    limited.headers.remove(header::CONTENT_TYPE);
    let wait = limited.headers.get(header::RETRY_AFTER);
    let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    let sentence = format!(
        "Too many logins. Try again in {}.{NOT_READ}",
        wait_text(seconds.unwrap_or(1))
    );
    let mut form = Form::of([]);
    form.add_error("", sentence);
    (limited, page(&form, false, false)).into_response()
}

async fn log_in(
    State(console): State<Console>,
    operator: Option<Operator>,
    Visitor(visit): Visitor,
    cookie: SessionCookie,
    jar: SignedCookieJar,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let credentials = Credentials {
        username: form.text("username").trim().to_owned(),
        password: form.text("password").into(),
    };
    let next = after(form.text("next")).to_owned();
    form.set("next", next.clone());
    let entry = Entry::of_login(&form);
    // A reload of the page with the entry submits the login again. It is refused, because the cookie has changed.
    if let Some(entry) = &entry
        && !visit
            .token
            .as_ref()
            .is_some_and(|token| form.has("session", token))
    {
        return Ok(match operator {
            Some(operator) => entry.page(&operator.username),
            None => Redirect::to(&login_for(next.parse().ok().as_ref())).into_response(),
        });
    }
    Ok(match console.logins.log_in(&credentials, &visit).await {
        Ok(Login::Done(token)) => {
            let page = match entry {
                Some(entry) => entry.page(&credentials.username),
                None => Redirect::to(&next).into_response(),
            };
            (cookie.give(jar, &token), page).into_response()
        }
        Ok(Login::Wrong) => {
            form.add_error("", WRONG);
            page(&form, false, false)
        }
        Ok(Login::TooOften(seconds)) => refused(form, seconds, ""),
        Err(error) => failed(form, error.into()),
    })
}

/// 429, with the form of the login.
fn refused(mut form: Form, seconds: i64, note: &str) -> Response {
    form.add_error("", too_often(seconds) + note);
    let wait = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, wait, page(&form, false, false)).into_response()
}

/// An error of the login above its form, which keeps the entry.
fn failed(mut form: Form, error: ConsoleError) -> Response {
    let mut response = error.into_response();
    if let Some(Explanation { text, .. }) = response.extensions_mut().remove() {
        form.add_error("", text);
    }
    let (parts, _) = response.into_parts();
    (parts, page(&form, false, false)).into_response()
}

/// Where the form of the login was not read, so that the page cannot repeat it.
const NOT_READ: &str = " Go back to return to your entry.";
const WRONG: &str = "Username or password is wrong, or the account is not active. Both are case-sensitive.";

/// The message of a throttled login.
pub fn too_often(seconds: i64) -> String {
    format!(
        "Too many logins have failed. Try again in {}.",
        wait_text(seconds)
    )
}

fn wait_text(seconds: i64) -> String {
    match seconds {
        ..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", (seconds + 59) / 60),
    }
}

async fn log_out(
    State(console): State<Console>,
    current: Option<Current>,
    Visitor(visit): Visitor,
    cookie: SessionCookie,
    jar: SignedCookieJar,
) -> Result<Response, ConsoleError> {
    if let Some(Current(account)) = current {
        console.logins.log_out(&account, &visit).await?;
    }
    Ok((cookie.take(jar), Redirect::to(LOGIN)).into_response())
}

/// The page after the login.
fn after(next: &str) -> &str {
    if is_page(next) { next } else { "/admin/" }
}

fn page(form: &Form, is_new: bool, is_ended: bool) -> Response {
    page_with(form, is_new, is_ended, None)
}

fn page_with(form: &Form, is_new: bool, is_ended: bool, lost: Option<Vec<Change>>) -> Response {
    let frame = Frame::alone("Log in");
    form.shown(render(&Page {
        frame,
        form,
        is_new,
        is_ended,
        lost,
    }))
}

/// Passes requests of operators on, and answers all others with the login.
pub async fn require(request: Request, next: Next) -> Response {
    if request.extensions().get::<Operator>().is_some() {
        return next.run(request).await;
    }
    if let Some(answer) = of_part(&request) {
        return answer;
    }
    if [Method::GET, Method::HEAD].contains(request.method()) {
        return Redirect::to(&login_for(Some(request.uri()))).into_response();
    }
    let visitor = request.extensions().get::<Visitor>();
    let Some(session) = visitor.and_then(|visitor| visitor.0.token.clone()) else {
        return Redirect::to(LOGIN).into_response();
    };
    let page = match Late::of_request(request, &session).await {
        Ok(Late::Kept(form)) => page(&form, false, true),
        Ok(Late::Lost(form, entry)) => page_with(&form, false, true, Some(entry)),
        Ok(Late::Nothing(next)) => {
            return Redirect::to(&login_for(next.parse().ok().as_ref())).into_response();
        }
        Err(error) => return error.into_response(),
    };
    (StatusCode::UNAUTHORIZED, page).into_response()
}

/// The login as an answer to a request that is not for a page: for a part of one, or a stream.
fn of_part(request: &Request) -> Option<Response> {
    let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    // A part of a page cannot show the login: the whole page goes there and comes back.
    if header(&HeaderName::from_static("hx-request")).is_some() {
        let page = header(&HeaderName::from_static("hx-current-url")).and_then(|url| url.parse::<Uri>().ok());
        let to = login_for(page.as_ref());
        return Some(([("hx-redirect", to)], StatusCode::OK).into_response());
    }
    // This ends a stream of events.
    let is_stream = header(&header::ACCEPT) == Some("text/event-stream");
    is_stream.then(|| StatusCode::NO_CONTENT.into_response())
}

/// The address of the login that leads back to a page.
fn login_for(page: Option<&Uri>) -> String {
    let page = page.and_then(Uri::path_and_query).map(PathAndQuery::as_str);
    match page.filter(|page| *page != "/admin/" && is_page(page)) {
        Some(page) => {
            let next: String = byte_serialize(page.as_bytes()).collect();
            format!("{LOGIN}?next={next}")
        }
        None => LOGIN.to_owned(),
    }
}

/// Whether the login may lead there: the path is below `/admin/` for every browser.
fn is_page(next: &str) -> bool {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let dots = path.to_ascii_lowercase().replace("%2e", ".");
    path.starts_with("/admin/")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !dots.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_outside_the_console_is_rejected() {
        for page in [
            "/admin/",
            "/admin/orders/?status=PENDING&page=2",
            "/admin/orders/7/",
            "/admin/..x/",
        ] {
            assert!(is_page(page), "{page}");
        }
        for elsewhere in [
            "",
            "/",
            "//evil.example/admin/",
            "https://evil.example/admin/",
            "/api/orders/",
            "/admin",
            "/admin/../api/orders/",
            "/admin/%2e%2E/api/",
            "/admin/.%2e",
            "/admin/\\..\\..\\api",
            "/admin/\t/../x",
            "/admin/\r\nset-cookie: a=b",
            "javascript:alert(1)//admin/",
            "\\\\evil.example/admin/",
        ] {
            assert!(!is_page(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn login_url_contains_the_page_as_next() {
        let login = |page: &str| login_for(page.parse::<Uri>().ok().as_ref());
        assert_eq!(login("/admin/"), "/admin/login/");
        assert_eq!(
            login("/admin/orders/?a=1&b=2"),
            "/admin/login/?next=%2Fadmin%2Forders%2F%3Fa%3D1%26b%3D2"
        );
        assert_eq!(
            login("http://shop.example/admin/stock/"),
            "/admin/login/?next=%2Fadmin%2Fstock%2F"
        );
        assert_eq!(login("http://shop.example/"), "/admin/login/");
    }
}
