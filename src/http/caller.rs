//! The authenticated caller of a request.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, HeaderName, Request, StatusCode, request::Parts},
};

use super::{ApiError, Client};
use crate::{
    audit::{Actor, AuditContext},
    auth::{Grant, Scope, Stores},
};

/// The grant of any caller while the API is open.
static OPEN: LazyLock<Arc<Grant>> = LazyLock::new(|| Arc::new(Grant::open()));

/// Names a request in logs and answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The caller of a request: an extension of authenticated requests. While the API is open, there is none, and the caller is
/// anyone.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The actor and its permissions.
    pub grant: Arc<Grant>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The `X-Request-Id`.
    pub request_id: Option<String>,
}

impl Caller {
    /// The caller of a request that has this grant.
    pub fn new<B>(request: &Request<B>, grant: Arc<Grant>) -> Self {
        Self::of(request.headers(), request.extensions(), grant)
    }

    fn of(headers: &HeaderMap, extensions: &Extensions, grant: Arc<Grant>) -> Self {
        let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Self {
            grant,
            address: extensions.get::<Client>().and_then(|client| client.address),
            request_id: request_id.map(str::to_owned),
        }
    }

    /// What the audit log records about the caller.
    pub fn audit_context(&self) -> AuditContext {
        AuditContext {
            actor: self.grant.actor.clone(),
            address: self.address,
            request_id: self.request_id.clone(),
        }
    }

    /// The same for an authenticated caller; `None` while the API is open.
    pub fn signed(&self) -> Option<Arc<AuditContext>> {
        (self.grant.actor != Actor::Anyone).then(|| Arc::new(self.audit_context()))
    }

    /// Refuses a caller without a scope, which the route as a whole does not need.
    pub fn require_scope(&self, scope: Scope) -> Result<(), ApiError> {
        if self.grant.scopes.allow(scope) {
            return Ok(());
        }
        Err(ApiError::detail(StatusCode::FORBIDDEN, lacks(scope)))
    }

    /// The same for what stays closed while the API is open: only a key or an account may do it.
    pub fn require_identity(&self, scope: Scope) -> Result<(), ApiError> {
        if self.grant.actor == Actor::Anyone {
            let refusal = format!("This needs an API key with the scope {scope}, and API_AUTH is off.");
            return Err(ApiError::detail(StatusCode::FORBIDDEN, refusal));
        }
        self.require_scope(scope)
    }

    /// Refuses a caller that is bound to stores, for what concerns all stores.
    pub fn require_all_stores(&self) -> Result<(), ApiError> {
        if self.grant.stores.are_all() {
            return Ok(());
        }
        Err(ApiError::detail(
            StatusCode::FORBIDDEN,
            "This concerns all stores, and you are bound to some of them.",
        ))
    }
}

/// The reason why a caller without a scope is refused.
pub(in crate::http) fn lacks(scope: Scope) -> String {
    format!("This needs the scope {scope}, which you were not granted.")
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Self>().cloned();
        Ok(caller.unwrap_or_else(|| Self::of(&parts.headers, &parts.extensions, OPEN.clone())))
    }
}

/// The stores that the caller may see.
impl<S: Sync> FromRequestParts<S> for Stores {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        Ok(caller.map_or(Self::All, |caller| caller.grant.stores.clone()))
    }
}
