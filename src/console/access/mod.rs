//! `/admin/access/`: the accounts of people and the keys of programs, for superusers.

mod accounts;
mod keys;
pub(super) mod stores;

use std::borrow::Borrow;

use axum::{
    Router,
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
};

use super::{error::ConsoleError, operator::Operator, page::Frame, state::Console};
use crate::auth::{Role, Scope};

const SECTION: &str = "/admin/access/";

pub fn router() -> Router<Console> {
    Router::new().merge(accounts::router()).merge(keys::router())
}

/// The permissions of a role, for operators.
pub(super) fn role(role: impl Borrow<Role>) -> &'static str {
    match *role.borrow() {
        Role::Superuser => "Superuser: full access, including accounts and keys",
        Role::Staff => "Staff: manage catalogue, stock and orders",
        Role::Viewer => "Viewer: read only",
    }
}

/// An operator who may manage accounts and keys. Others may not see these pages.
struct Superuser(Operator);

impl Superuser {
    fn frame(&self, title: impl Into<String>) -> Frame {
        Frame::new(&self.0, SECTION, title)
    }
}

impl<S: Sync> FromRequestParts<S> for Superuser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let operator = <Operator as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if operator.may(Scope::Admin) {
            Ok(Self(operator))
        } else {
            Err(ConsoleError::Forbidden.into_response())
        }
    }
}
