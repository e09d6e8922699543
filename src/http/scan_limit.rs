//! Limits requests that read a whole table to one at a time, so that they do not delay all others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ApiError;

/// Requests that may wait.
const WAITING: usize = 16;

/// The limit of a server. Clones share it.
#[derive(Clone, Debug)]
pub struct ScanLimit {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// Permits reading a whole table until it is dropped.
#[derive(Debug)]
pub struct ScanPermit {
    _running: OwnedSemaphorePermit,
    _admitted: OwnedSemaphorePermit,
}

/// Too many requests wait.
const BUSY: ApiError =
    ApiError::Unavailable("Too many searches for short texts are under way, try again later.");

impl Default for ScanLimit {
    fn default() -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(WAITING + 1)),
            running: Arc::new(Semaphore::new(1)),
        }
    }
}

impl ScanLimit {
    /// Waits for a permit. Callers take their connection to the database afterwards, so that waiting uses none.
    pub async fn permit(&self) -> Result<ScanPermit, ApiError> {
        let admitted = self.admitted.clone().try_acquire_owned();
        let admitted = admitted.map_err(|_| BUSY)?;
        let running = self.running.clone().acquire_owned().await;
        Ok(ScanPermit {
            _running: running.map_err(|_| BUSY)?,
            _admitted: admitted,
        })
    }

    /// The same if a whole table has to be read.
    pub async fn permit_if(&self, scans: bool) -> Result<Option<ScanPermit>, ApiError> {
        if scans {
            self.permit().await.map(Some)
        } else {
            Ok(None)
        }
    }
}
