//! Why an order was not placed.

use super::model::Outcome;
use crate::http::{ApiError, OUTCOME_UNKNOWN};

/// Why an order was not placed. Nothing was written, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Too many orders are waiting.
    #[error("too many orders are waiting")]
    Busy,
    /// The transaction of this order alone failed.
    #[error("the order could not be placed")]
    Database(#[source] sqlx::Error),
    /// The database or its connection failed a batch of orders; this has been logged.
    #[error("the database is unavailable")]
    Unavailable,
    /// The connection failed during the commit, and PostgreSQL did not report the outcome in time; this has been logged. The order
    /// may have been placed.
    #[error("the outcome of the commit is unknown")]
    CommitUnknown,
    /// Another transaction has locked stock that the order needs.
    #[error("the stock is locked")]
    Locked,
    /// Another transaction holds the order's idempotency key.
    #[error("the idempotency key is in use")]
    KeyInUse,
    /// A bug ended the placement.
    #[error("the placement of the order panicked")]
    Panicked,
}

/// The outcome of an order, or why there is none.
pub type PlaceResult = Result<Outcome, PlaceError>;

impl From<PlaceError> for ApiError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Busy => Self::Unavailable("Too many orders are waiting, try again later."),
            PlaceError::Unavailable | PlaceError::Locked => {
                Self::Unavailable("Service temporarily unavailable, try again later.")
            }
            PlaceError::CommitUnknown => Self::Unavailable(OUTCOME_UNKNOWN),
            PlaceError::KeyInUse => Self::IdempotencyConflict,
            PlaceError::Database(error) => error.into(),
            PlaceError::Panicked => Self::Internal(error.into()),
        }
    }
}
