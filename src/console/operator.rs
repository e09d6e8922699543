//! Who is logged in.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
};

use super::{error::ConsoleError, flash::Flash};
use crate::{auth::Scope, http::Caller};

/// A person with an account, as a page sees them. A page that asks for one sends everybody else to the login.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The account.
    pub account_id: i64,
    /// Its name.
    pub username: Arc<str>,
    /// `superuser`, `staff` or `viewer`.
    pub role: &'static str,
    /// What it is granted, and where this request came from.
    pub caller: Caller,
    /// The message of the previous request, if this one shows a page.
    pub flash: Option<Arc<Flash>>,
}

impl Operator {
    /// Whether the operator may do what needs `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.caller.grant.scopes.allow(scope)
    }

    /// Whether the operator may write what belongs to no store: categories, products, and new stores.
    pub fn writes_catalogue(&self) -> bool {
        self.may(Scope::CatalogWrite) && self.caller.grant.stores.are_all()
    }

    /// Whether the operator may see the audit log.
    pub fn sees_audit(&self) -> bool {
        self.caller.grant.stores.are_all()
    }

    /// Refuses what the operator may not do.
    pub fn require(&self, may: bool) -> Result<(), ConsoleError> {
        if may { Ok(()) } else { Err(ConsoleError::Forbidden) }
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.extensions.get::<Self>() {
            Some(operator) => Ok(operator.clone()),
            None => Err(Redirect::to("/admin/login/").into_response()),
        }
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Operator {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
