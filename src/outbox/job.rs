//! The job that a relay queues. It is a wire format: a new version may find jobs of the version before.

use serde::{Deserialize, Serialize};

/// The version that this program writes. Version 1 named orders.
const VERSION: u8 = 2;

/// Confirms the orders of some rows of the outbox. Running it again confirms no order twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmOrders {
    version: u8,
    #[serde(default)]
    outbox_ids: Vec<i64>,
}

impl ConfirmOrders {
    /// A job of the current version.
    pub fn new(outbox_ids: Vec<i64>) -> Self {
        Self {
            version: VERSION,
            outbox_ids,
        }
    }

    /// The rows to settle. None for a job of version 1: its rows are claimed again when their lease expires.
    pub fn outbox_ids(&self) -> Result<&[i64], UnknownVersion> {
        match self.version {
            1 | VERSION => Ok(&self.outbox_ids),
            unknown => Err(UnknownVersion(unknown)),
        }
    }
}

/// The job was written by an unknown version of Afforo.
#[derive(Debug, thiserror::Error)]
#[error("message version {0} is unknown to this worker")]
pub struct UnknownVersion(u8);
