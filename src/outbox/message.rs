//! The job that a relay hands to a worker: a wire format. Old messages may still be queued when a new version starts.

use serde::{Deserialize, Serialize};

/// The version that this program writes.
const VERSION: u8 = 1;

/// Asks for the confirmations of some orders. Orders are named by id only: what is to be said of them is read when the
/// job runs. Running it again confirms nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmOrders {
    version: u8,
    order_ids: Vec<i64>,
}

impl ConfirmOrders {
    /// A message of the current version.
    #[must_use]
    pub fn new(order_ids: Vec<i64>) -> Self {
        Self {
            version: VERSION,
            order_ids,
        }
    }

    /// The orders to confirm.
    pub fn order_ids(&self) -> Result<&[i64], UnknownVersion> {
        if self.version == VERSION {
            Ok(&self.order_ids)
        } else {
            Err(UnknownVersion(self.version))
        }
    }
}

/// The message was written by a version of Afforo that this one does not know.
#[derive(Debug, thiserror::Error)]
#[error("message version {0} is unknown to this worker")]
pub struct UnknownVersion(u8);
