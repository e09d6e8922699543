//! 409 for a request that the state of a record forbids.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// Why the state of a record forbids a request, with the facts that the client needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StateConflict {
    /// The reason as a sentence.
    #[schema(value_type = String)]
    pub detail: Cow<'static, str>,
    /// The reason.
    pub code: ConflictCode,
    /// The order that causes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub order_id: Option<i64>,
}

/// The reason as a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictCode {
    /// Another order of the store has the reference.
    DuplicateReference,
    /// The record has a value that cannot change.
    InvalidTransition,
}
