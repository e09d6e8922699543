//! The id of a record, from the path.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};

use crate::http::ApiError;

/// The id of a record in a path: any digits. Beyond 64 bits it is 0, which no record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for RecordId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found())?;
        let id = params.iter().find(|(name, _)| *name == "id");
        // `api_route` admits digits only.
        Ok(Self(id.and_then(|(_, id)| id.parse().ok()).unwrap_or(0)))
    }
}
