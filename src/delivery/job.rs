//! The job that a relay queues. It is a wire format: a new version may find jobs of the version before.

use serde::{Deserialize, Serialize};

/// Sends one message. The job reads its content when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// The row of `delivery`.
    pub delivery_id: i64,
    /// Number of attempts before this one. A job that comes late does not match, and is ignored.
    pub attempts: i32,
}
