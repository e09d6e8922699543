//! The job that a relay hands to a worker: a wire format. Old messages may still be queued when a new version starts.

use serde::{Deserialize, Serialize};

/// The version that this program writes. Version 1 named orders.
const VERSION: u8 = 2;

/// Asks for the confirmations that some rows of the outbox owe. What is to be said of the orders is read when the job
/// runs. Running it again confirms nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmOrders {
    version: u8,
    #[serde(default)]
    outbox_ids: Vec<i64>,
}

impl ConfirmOrders {
    /// A message of the current version.
    #[must_use]
    pub fn new(outbox_ids: Vec<i64>) -> Self {
        Self {
            version: VERSION,
            outbox_ids,
        }
    }

    /// The rows of the outbox to settle. None for a message of version 1: what it asked for is asked for again when its
    /// lease has run out.
    pub fn outbox_ids(&self) -> Result<&[i64], UnknownVersion> {
        match self.version {
            1 | VERSION => Ok(&self.outbox_ids),
            unknown => Err(UnknownVersion(unknown)),
        }
    }
}

/// The message was written by a version of Afforo that this one does not know.
#[derive(Debug, thiserror::Error)]
#[error("message version {0} is unknown to this worker")]
pub struct UnknownVersion(u8);
