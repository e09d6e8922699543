//! The session of a browser: its cookie, and its account.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts, OptionalFromRequestParts, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::{
    CookieJar, SignedCookieJar,
    cookie::{Cookie, Key, SameSite},
};

use super::{error::ConsoleError, flash::Flash, operator::Operator, page, state::Console};
use crate::{
    auth::{Account, ClientInfo, Token, TokenHash, session},
    http::{AFFORO_POSITION, Caller, Client, REQUEST_ID},
};

/// The most cookies that are read.
const MOST_COOKIES: usize = 8;
/// The longest stored user agent, in bytes.
const USER_AGENT_LIMIT: usize = 512;
pub const LOGIN: &str = "/admin/login/";

/// The current account of the operator.
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

/// The cookie of the session. Over TLS the plain cookie is ignored: a page of a sibling domain could have set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCookie {
    /// Only sent over TLS, and only set by this host: browsers enforce both because of the prefix of its name.
    Host,
    /// Sent without TLS: to this machine, or in development. Not all browsers accept the other cookie there.
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

    /// The name of the cookie with the message for the next page.
    pub fn flash_name(self) -> &'static str {
        match self {
            Self::Host => "__Host-afforo-flash",
            Self::Plain => "afforo-flash",
        }
    }

    /// The name of the cookie with the position of the browser's last write.
    fn position_name(self) -> &'static str {
        match self {
            Self::Host => "__Host-afforo-position",
            Self::Plain => "afforo-position",
        }
    }

    fn token(self, jar: &SignedCookieJar) -> Option<Token> {
        let cookie = jar.get(self.name()).or_else(|| jar.get(Self::Host.name()))?;
        Token::of_text(cookie.value())
    }

    /// Puts a session into the browser.
    pub fn give(self, jar: SignedCookieJar, token: &Token) -> SignedCookieJar {
        jar.add(self.build(self.name(), token.to_text()))
    }

    /// Takes the session from the browser.
    pub fn take(self, jar: SignedCookieJar) -> SignedCookieJar {
        jar.remove(self.build(self.name(), String::new()))
    }

    /// A cookie of the console.
    pub fn build(self, name: &'static str, value: String) -> Cookie<'static> {
        let (path, is_secure) = match self {
            Self::Host => ("/", true),
            Self::Plain => ("/admin/", false),
        };
        Cookie::build((name, value))
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

/// Drops the cookies of other applications from a request, because the jar checks the signature of each cookie.
pub fn keep_own_cookies(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let sent = headers.get_all(header::COOKIE).iter();
    let own: Vec<&[u8]> = sent
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| {
            let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
            [SessionCookie::Host, SessionCookie::Plain].iter().any(|own| {
                let names = [own.name(), own.flash_name(), own.position_name()];
                names.map(str::as_bytes).contains(&name)
            })
        })
        .take(MOST_COOKIES)
        .collect();
    match HeaderValue::from_bytes(&own.join(&b"; "[..])) {
        Ok(own) if !own.is_empty() => drop(headers.insert(header::COOKIE, own)),
        _ => drop(headers.remove(header::COOKIE)),
    }
    request
}

/// Reads the session of a request. Its [`Operator`] becomes an extension of the request.
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
    request.extensions_mut().insert(operator.caller.clone());
    request.extensions_mut().insert(operator.clone());
    request.extensions_mut().insert(Current(account));
    page::error_page(next.run(request).await, Some(&operator))
}

/// Shows the message of the previous request on the page of this one, and hands the message of this one to the browser.
pub async fn carry_flash(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let Some(cookie) = request.extensions().get::<SessionCookie>().copied() else {
        return next.run(request).await;
    };
    // A key of its own: the value of one cookie is never accepted for another.
    let key = Key::from(&console.secret.bytes::<64>("flash cookie"));
    let jar = SignedCookieJar::from_headers(request.headers(), key);
    let sent = jar.get(cookie.flash_name());
    let is_write = request.method() == Method::POST;
    // htmx asks for parts of a page, which show no message.
    let is_page = !is_write && !request.headers().contains_key("hx-request");
    if let Some(operator) = request.extensions_mut().get_mut::<Operator>() {
        operator.flash = sent
            .as_ref()
            .filter(|_| is_page)
            .and_then(|sent| Flash::of_cookie(sent.value()))
            .map(Arc::new);
    }
    let mut response = next.run(request).await;
    if let Some(flash) = response.extensions_mut().remove::<Flash>() {
        let message = cookie.build(cookie.flash_name(), flash.to_cookie());
        return (jar.add(message), response).into_response();
    }
    // A message that no page has shown is out of date after the next write.
    if sent.is_some() && (is_write || is_page && is_html(&response)) {
        let removed = cookie.build(cookie.flash_name(), String::new());
        return (jar.remove(removed), response).into_response();
    }
    response
}

/// Keeps the position of the browser's last write in a cookie, for reads through other servers.
pub async fn carry_position(mut request: Request, next: Next) -> Response {
    let Some(cookie) = request.extensions().get::<SessionCookie>().copied() else {
        return next.run(request).await;
    };
    let jar = CookieJar::from_headers(request.headers());
    let sent = jar.get(cookie.position_name());
    if let Some(position) = sent.and_then(|sent| HeaderValue::from_str(sent.value()).ok()) {
        request.headers_mut().insert(AFFORO_POSITION, position);
    }
    let mut response = next.run(request).await;
    let position = response.headers_mut().remove(AFFORO_POSITION);
    match position.as_ref().and_then(|position| position.to_str().ok()) {
        Some(position) => {
            let position = cookie.build(cookie.position_name(), position.to_owned());
            (jar.add(position), response).into_response()
        }
        None => response,
    }
}

fn is_html(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
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
        flash: None,
    }
}
