//! The session of a browser: its cookie, whose it is, and where those go who have none.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts, OptionalFromRequestParts, Request, State},
    http::{
        HeaderName, HeaderValue, Method, StatusCode, Uri, header,
        request::Parts,
        uri::{Authority, PathAndQuery},
    },
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::{
    SignedCookieJar,
    cookie::{Cookie, Key, SameSite},
};
use form_urlencoded::byte_serialize;

use super::{error::ConsoleError, operator::Operator, page, state::Console};
use crate::{
    auth::{Account, ClientInfo, Token, TokenHash, session},
    http::{Caller, Client, REQUEST_ID},
};

/// How many cookies of a console are looked at.
const MOST_COOKIES: usize = 4;
/// How much of the name that a browser gives itself is kept, in bytes.
const USER_AGENT_LIMIT: usize = 512;
const LOGIN: &str = "/admin/login/";

/// The account of whoever is logged in, as it is now.
#[derive(Clone, Debug)]
pub struct Current(pub Account);

impl<S: Sync> FromRequestParts<S> for Current {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let current = parts.extensions.get::<Self>().cloned();
        current.ok_or_else(|| Redirect::to(LOGIN).into_response())
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Current {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Visitor(pub ClientInfo);

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let visitor = parts.extensions.get::<Self>().cloned();
        visitor.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Which cookie holds the session. The plain one is not looked at where the other one is due: a page of a neighbouring domain
/// could have set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCookie {
    /// Sent through TLS alone, and set by this host alone: browsers see to it for the sake of its name.
    Host,
    /// Sent in the clear: to this machine, or in development. Browsers do not agree whether they would take the other one there.
    Plain,
}

impl SessionCookie {
    fn of(request: &Request, debug: bool) -> Self {
        let client = request.extensions().get::<Client>();
        let is_https = client.is_some_and(|client| client.is_tls);
        if is_https || !(debug || is_for_loopback(request)) {
            Self::Host
        } else {
            Self::Plain
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Host => "__Host-afforo-session",
            Self::Plain => "afforo-session",
        }
    }

    fn token(self, jar: &SignedCookieJar) -> Option<Token> {
        let cookie = jar.get(self.name()).or_else(|| jar.get(Self::Host.name()))?;
        Token::of_text(cookie.value())
    }

    /// Puts a session into the browser.
    pub fn give(self, jar: SignedCookieJar, token: &Token) -> SignedCookieJar {
        jar.add(self.with(token.to_text()))
    }

    /// Takes the session from the browser.
    pub fn take(self, jar: SignedCookieJar) -> SignedCookieJar {
        jar.remove(self.with(String::new()))
    }

    fn with(self, value: String) -> Cookie<'static> {
        let (path, is_secure) = match self {
            Self::Host => ("/", true),
            Self::Plain => ("/admin/", false),
        };
        Cookie::build((self.name(), value))
            .path(path)
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(is_secure)
            .build()
    }
}

impl<S: Sync> FromRequestParts<S> for SessionCookie {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let cookie = parts.extensions.get::<Self>().copied();
        cookie.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Whether a request names this machine as its host.
fn is_for_loopback(request: &Request) -> bool {
    let header = request.headers().get(header::HOST);
    let of_header = header.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = request.uri().authority().cloned().or(of_header);
    authority.is_some_and(|authority| {
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str())
    })
}

/// Keeps of a request's cookies only those of the console: whatever reads cookies checks the signature of each.
pub fn keep_own_cookies(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let sent = headers.get_all(header::COOKIE).iter();
    let own: Vec<&[u8]> = sent
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| {
            let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
            [SessionCookie::Host, SessionCookie::Plain]
                .iter()
                .any(|own| own.name().as_bytes() == name)
        })
        .take(MOST_COOKIES)
        .collect();
    match HeaderValue::from_bytes(&own.join(&b"; "[..])) {
        Ok(own) if !own.is_empty() => drop(headers.insert(header::COOKIE, own)),
        _ => drop(headers.remove(header::COOKIE)),
    }
    request
}

/// Finds out who asks: their [`Operator`], if there is a session, becomes an extension of the request.
pub async fn read(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let jar = SignedCookieJar::from_headers(request.headers(), Key::from_ref(&console));
    let cookie = SessionCookie::of(&request, console.debug);
    let token = cookie.token(&jar);
    let visit = visit(&request, token.map(|token| token.hash()));
    let account = match account_of(&console, &visit).await {
        Ok(account) => account,
        Err(error) => return ConsoleError::from(error).into_response(),
    };
    let operator = account.as_ref().map(|account| operator(account, &visit));
    request.extensions_mut().insert(Visitor(visit));
    request.extensions_mut().insert(cookie);
    let (Some(account), Some(operator)) = (account, operator) else {
        return next.run(request).await;
    };
    tracing::Span::current().record("actor", tracing::field::display(account.actor()));
    request.extensions_mut().insert(operator.clone());
    request.extensions_mut().insert(Current(account));
    page::error_page(next.run(request).await, Some(&operator))
}

fn visit(request: &Request, token: Option<TokenHash>) -> ClientInfo {
    let client = request.extensions().get::<Client>();
    let text = |name: HeaderName| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut user_agent = text(header::USER_AGENT).unwrap_or_default();
    user_agent.truncate(user_agent.floor_char_boundary(USER_AGENT_LIMIT));
    ClientInfo {
        address: client.and_then(|client| client.address),
        request_id: text(REQUEST_ID),
        user_agent,
        token,
    }
}

async fn account_of(console: &Console, visit: &ClientInfo) -> sqlx::Result<Option<Account>> {
    let Some(token) = &visit.token else {
        return Ok(None);
    };
    let db = &console.app.database.pool;
    let Some((account, is_due)) = session::account_of(db, token).await? else {
        return Ok(None);
    };
    if is_due {
        session::touch(db, token).await?;
    }
    Ok(Some(account))
}

fn operator(account: &Account, visit: &ClientInfo) -> Operator {
    Operator {
        account_id: account.id,
        username: Arc::from(account.username.as_str()),
        role: account.role.as_str(),
        caller: Caller {
            grant: Arc::new(account.grant()),
            address: visit.address,
            request_id: visit.request_id.clone(),
        },
    }
}

/// Lets on whoever is logged in, and sends everybody else to the login.
pub async fn require(request: Request, next: Next) -> Response {
    if request.extensions().get::<Operator>().is_some() {
        return next.run(request).await;
    }
    let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    // A part of a page cannot be a login: the whole page goes there, and comes back.
    if header(&HeaderName::from_static("hx-request")).is_some() {
        let page = header(&HeaderName::from_static("hx-current-url")).and_then(|url| url.parse::<Uri>().ok());
        let to = login_for(page.as_ref());
        return ([("hx-redirect", to)], StatusCode::OK).into_response();
    }
    // To a stream of events this says that there are no more.
    if header(&header::ACCEPT) == Some("text/event-stream") {
        return StatusCode::NO_CONTENT.into_response();
    }
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    Redirect::to(&login_for(Some(request.uri()).filter(|_| is_read))).into_response()
}

/// The login, from which one comes back to a page.
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

/// Whether somebody may be sent there after the login: it is a page of the console, however a browser reads it.
pub fn is_page(next: &str) -> bool {
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
