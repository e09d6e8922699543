//! Who may do what with the API: a request shows a key, or is open to anyone.
//!
//! A key is sent as `Authorization: Bearer …` or as `X-API-Key`, never in a URL: URLs are kept in logs and histories.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use metrics::{counter, describe_counter};

use super::{ApiError, Caller, Client};
use crate::{
    auth::{Area, Grant, KeyError, Keyring, Scope},
    config::ApiAuth,
    telemetry::LineLimit,
};

/// Log lines about refusals, a minute and address.
static REFUSALS: LineLimit = LineLimit::new(10);

pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What stands before the API of a server. Without one, it is open to anyone. Clones share the keyring.
#[derive(Clone, Debug)]
pub struct ApiKeyAuth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reads_are_open: bool,
    keyring: Keyring,
    clock: fn() -> DateTime<Utc>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuthError {
    /// It shows no key.
    NoKey,
    /// Its key is not good.
    Key(KeyError),
    /// Its key is not good for this.
    Scope(Scope),
}

impl ApiKeyAuth {
    /// A gate that knows the keys of `keyring`; none where the API is open.
    #[must_use]
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

    /// Lets a request in, which then has its [`Caller`] as an extension; or says why not. What the console sends on behalf of
    /// an operator has one already. What methods there are is no secret.
    pub(super) async fn admit(request: &mut Request, area: Area) -> Result<(), Response> {
        if request.method() == Method::OPTIONS {
            return Ok(());
        }
        let writes = !request.method().is_safe();
        let scope = area.scope(writes);
        let (caller, gate) = {
            let extensions = request.extensions();
            (extensions.get::<Caller>(), extensions.get::<Self>().cloned())
        };
        if let Some(caller) = caller {
            return authorize(&caller.grant, scope).map_err(|denied| denied.answer(request));
        }
        let Some(Self(gate)) = gate else { return Ok(()) };
        let Some(key) = presented(request.headers()) else {
            if gate.reads_are_open && !writes {
                return Ok(());
            }
            return Err(AuthError::NoKey.answer(request));
        };
        let address = request
            .extensions()
            .get::<Client>()
            .and_then(|client| client.address);
        let admitted = gate.keyring.verify(key, address, (gate.clock)()).await;
        let grant = admitted
            .map_err(|error| ApiError::from(error).into_response())?
            .map_err(|refused| AuthError::Key(refused).answer(request))?;
        authorize(&grant, scope).map_err(|denied| denied.answer(request))?;
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

/// The key that a request shows. What cannot be one is taken for one that nobody knows.
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
            tracing::warn!(reason, address, left_out, "a request to the API was refused");
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
                format!("This needs the scope {scope}, which you were not granted.").into(),
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

/// Says what is counted here.
pub(super) fn describe_metrics() {
    describe_counter!(
        "afforo_access_refusals_total",
        "Requests to the API that were refused for what their key is, or is not, good for."
    );
}
