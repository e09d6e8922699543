//! The job that a relay hands to a worker: a wire format. Old messages may still be queued when a new version starts.

use serde::{Deserialize, Serialize};

/// Asks to send one message. What it says is read when the job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    delivery_id: i64,
    /// How often it had been sent when it was handed out: a message that comes late asks for nothing any more.
    attempts: i32,
}

impl Deliver {
    /// A message of the current version.
    #[must_use]
    pub fn new(delivery_id: i64, attempts: i32) -> Self {
        Self {
            delivery_id,
            attempts,
        }
    }

    /// The row of `delivery`.
    #[must_use]
    pub fn delivery_id(&self) -> i64 {
        self.delivery_id
    }

    /// The attempts before.
    #[must_use]
    pub fn attempts(&self) -> i32 {
        self.attempts
    }
}
