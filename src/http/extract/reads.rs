//! The database that a request reads from.

use std::convert::Infallible;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};

use crate::{db::ReadPool, http::AppState};

/// Connections for the reads of a request.
#[derive(Clone, Debug)]
pub struct Reads(pub ReadPool);

impl<S: Sync> FromRequestParts<S> for Reads
where
    AppState: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self(AppState::from_ref(state).database.reads.clone()))
    }
}
