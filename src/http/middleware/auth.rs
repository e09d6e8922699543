//! Authentication by API key, and authorization by scope.
//!
//! A key is sent as `Authorization: Bearer …` or as `X-API-Key`, never in a URL: logs and browsers keep URLs.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use metrics::counter;

use crate::{
    auth::{Area, Grant, KeyError, Keyring, Scope},
    config::ApiAuth,
    http::{ApiError, Caller, Client, caller::lacks},
    telemetry::LineLimit,
};

/// Log lines a minute and address about refused requests.
static REFUSALS: LineLimit = LineLimit::new(10);

pub(in crate::http) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Authenticates requests to the API. Without it, the API is open. Clones share the keyring.
#[derive(Clone, Debug)]
pub struct ApiKeyAuth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reads_are_open: bool,
    keyring: Keyring,
    clock: fn() -> DateTime<Utc>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuthError {
    /// It has no key.
    NoKey,
    /// Its key is not valid.
    Key(KeyError),
    /// Its key lacks this scope.
    Scope(Scope),
}

impl ApiKeyAuth {
    /// Authentication by the keys of `keyring`; `None` if the API is open.
    pub fn new(auth: ApiAuth, keyring: Keyring, clock: fn() -> DateTime<Utc>) -> Option<Self> {
        let reads_are_open = match auth {
            ApiAuth::Off => return None,
            ApiAuth::Write => true,
            ApiAuth::All => false,
        };
        Some(Self(Arc::new(Inner {
            reads_are_open,
            keyring,
            clock,
        })))
    }

    /// Adds the [`Caller`] to a request, or refuses it. A request of the console has one already. OPTIONS needs no key. Without
    /// `auth`, the API is open.
    pub(super) async fn admit(
        auth: Option<&Self>,
        request: &mut Request,
        area: Area,
    ) -> Result<(), Response> {
        if request.method() == Method::OPTIONS {
            return Ok(());
        }
        let writes = !request.method().is_safe();
        let scope = area.scope(writes);
        if let Some(caller) = request.extensions().get::<Caller>() {
            return authorize(&caller.grant, scope).map_err(|error| error.answer(request));
        }
        let Some(Self(auth)) = auth else { return Ok(()) };
        let Some(key) = presented(request.headers()) else {
            if auth.reads_are_open && !writes {
                return Ok(());
            }
            return Err(AuthError::NoKey.answer(request));
        };
        let address = request
            .extensions()
            .get::<Client>()
            .and_then(|client| client.address);
        let admitted = auth.keyring.verify(key, address, (auth.clock)()).await;
        let grant = admitted
            .map_err(|error| ApiError::from(error).into_response())?
            .map_err(|error| AuthError::Key(error).answer(request))?;
        authorize(&grant, scope).map_err(|error| error.answer(request))?;
        tracing::Span::current().record("actor", tracing::field::display(&grant.actor));
        let caller = Caller::new(request, grant);
        request.extensions_mut().insert(caller);
        Ok(())
    }
}

fn authorize(grant: &Grant, scope: Scope) -> Result<(), AuthError> {
    if grant.scopes.allow(scope) {
        Ok(())
    } else {
        Err(AuthError::Scope(scope))
    }
}

/// The key of a request. A malformed one counts as an unknown key.
fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION)
        && let Some((scheme, key)) = authorization
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(key.trim());
    }
    headers
        .get(API_KEY)
        .map(|value| value.to_str().unwrap_or_default().trim())
}

impl AuthError {
    /// Logs the refusal, without the key, and answers it.
    fn answer(self, request: &Request) -> Response {
        let address = request
            .extensions()
            .get::<Client>()
            .and_then(|client| client.address);
        let reason = self.reason();
        counter!("afforo_access_refusals_total", "reason" => reason).increment(1);
        if let Some(left_out) = REFUSALS.admit(address) {
            let address = address.map(|address| address.to_string());
            tracing::warn!(reason, address, left_out, "request to the API refused");
        }
        let (status, detail, challenge): (_, std::borrow::Cow<'static, str>, _) = match self {
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "Authentication credentials were not provided.".into(),
                "Bearer realm=\"api\"".to_owned(),
            ),
            Self::Key(KeyError::TooOften(wait)) => return too_often(wait),
            Self::Key(refused) => (
                StatusCode::UNAUTHORIZED,
                match refused {
                    KeyError::Expired => "The API key has expired.",
                    KeyError::Revoked => "The API key was revoked.",
                    _ => "Invalid API key.",
                }
                .into(),
                "Bearer realm=\"api\", error=\"invalid_token\"".to_owned(),
            ),
            Self::Scope(scope) => (
                StatusCode::FORBIDDEN,
                lacks(scope).into(),
                format!("Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"{scope}\""),
            ),
        };
        let mut response = ApiError::Detail(status, detail).into_response();
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn reason(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::Key(KeyError::Unknown) => "unknown_key",
            Self::Key(KeyError::Expired) => "expired_key",
            Self::Key(KeyError::Revoked) => "revoked_key",
            Self::Key(KeyError::TooOften(_)) => "too_many_failures",
            Self::Scope(_) => "scope",
        }
    }
}

fn too_often(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("Too many API keys from this address were refused. Try again in {seconds} seconds.");
    let mut response = ApiError::detail(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
