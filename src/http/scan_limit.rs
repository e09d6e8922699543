//! Limits requests that read a whole table to one at a time, so that they do not delay all others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

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

/// The message if too many searches wait.
pub const BUSY_SEARCH: &str = "Too many searches for short texts are under way, try again later.";

impl Default for ScanLimit {
    fn default() -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(WAITING + 1)),
            running: Arc::new(Semaphore::new(1)),
        }
    }
}

impl ScanLimit {
    /// Waits for a permit, or is refused with the message. Callers take their connection to the database afterwards, so that
    /// waiting uses none.
    async fn permit(&self, busy: &'static str) -> Result<ScanPermit, ApiError> {
        let refused = || ApiError::Unavailable(busy);
        let admitted = self.admitted.clone().try_acquire_owned();
        let admitted = admitted.map_err(|_| refused())?;
        let running = self.running.clone().acquire_owned().await;
        Ok(ScanPermit {
            _running: running.map_err(|_| refused())?,
            _admitted: admitted,
        })
    }

    /// A permit for a search that has to read a whole table.
    pub async fn permit_if(&self, scans: bool) -> Result<Option<ScanPermit>, ApiError> {
        if scans {
            self.permit(BUSY_SEARCH).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// Runs work that reads much, with a permit. It is held while PostgreSQL reads, also after the client has disconnected.
    pub async fn run<T: Send + 'static>(
        &self,
        busy: &'static str,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.permit(busy).await?;
        let scan = async move {
            let _permit = permit;
            work.await
        };
        match tokio::spawn(scan.in_current_span()).await {
            Ok(done) => done,
            Err(error) => Err(ApiError::Internal(error.into())),
        }
    }
}
