//! The job that a relay queues. It is a wire format: a new version may find jobs of the version before.

use serde::{Deserialize, Serialize};

/// Sends one message. The job reads its content when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    delivery_id: i64,
    /// Number of attempts before this one. A job that comes late does not match, and is ignored.
    attempts: i32,
}

impl Deliver {
    /// A job of the current version.
    pub fn new(delivery_id: i64, attempts: i32) -> Self {
        Self {
            delivery_id,
            attempts,
        }
    }

    /// The row of `delivery`.
    pub fn delivery_id(&self) -> i64 {
        self.delivery_id
    }

    /// Number of attempts before this one.
    pub fn attempts(&self) -> i32 {
        self.attempts
    }
}
