//! The database that a request reads from.

use std::convert::Infallible;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};

use crate::{db::ReadPool, http::AppState};

/// Connections for the reads of a request: an extension if a replica serves it, else those of the primary.
#[derive(Clone, Debug)]
pub struct Reads(pub ReadPool);

impl<S: Sync> FromRequestParts<S> for Reads
where
    AppState: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let of_replica = parts.extensions.get::<Self>().cloned();
        Ok(of_replica.unwrap_or_else(|| Self(AppState::from_ref(state).database.reads.clone())))
    }
}
