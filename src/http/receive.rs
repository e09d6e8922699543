//! Receives the body of a request, in bounded time and memory.

use std::mem;

use axum::{
    body::{Body, Bytes, HttpBody},
    http::StatusCode,
};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use super::{ApiError, Overloaded, Permit};

/// The largest body that is received.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

/// Why a body could not be received.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("it is too large")]
    TooLarge,
    #[error("it comes too slowly")]
    TooSlow,
    #[error("it could not be read")]
    Unreadable,
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body exceeds 1 MiB."),
            BodyError::TooSlow => Self::TooSlow("Request body came too slowly."),
            BodyError::Unreadable => Self::detail(StatusCode::BAD_REQUEST, "Request body could not be read."),
            BodyError::Overloaded(overloaded) => overloaded.into(),
        }
    }
}

/// Receives a body of at most `limit` bytes. The request does not count as in progress meanwhile, so slow senders do not cause
/// refusals of other requests; the limit of connections bounds them.
pub(super) async fn receive(permit: &Permit, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    permit.release();
    let received = collect(permit, body, limit).await?;
    permit.acquire()?;
    permit.wait_for_connection().await;
    Ok(received)
}

async fn collect(permit: &Permit, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    // Known from the head: none of it need be read.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    let limits = permit.limits();
    let end = Instant::now() + limits.body_total;
    let mut parts = body.into_data_stream();
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    loop {
        let remaining = end.saturating_duration_since(Instant::now());
        let part = match timeout(remaining.min(limits.body_pause), parts.next()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => break,
            Ok(Some(part)) => part.map_err(|_| BodyError::Unreadable)?,
        };
        let length = first.len() + all.len() + part.len();
        if length > limit {
            return Err(BodyError::TooLarge);
        }
        permit.count_body(length)?;
        // Nearly every body comes in one part, and is not copied.
        if first.is_empty() && all.is_empty() {
            first = part;
        } else {
            all.extend_from_slice(&mem::take(&mut first));
            all.extend_from_slice(&part);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}
