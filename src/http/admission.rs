//! Admission control: limits the requests in progress and the memory of their bodies. A request over a limit is refused at
//! once, so that admitted requests finish in time.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    ApiError,
    client_share::{ClientShare, ClientShares, semaphore},
};

/// The first bytes of a body or an answer, which are not counted: large ones never keep out small ones. A connection's
/// buffer takes about as much anyway.
pub(super) const UNCOUNTED: usize = 8 * 1024;

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Requests in progress.
    pub requests: usize,
    /// Requests in progress that need the shared pool.
    pub pooled: usize,
    /// The same, of one client.
    pub client_pooled: usize,
    /// Connections of one client at the same time.
    pub client_connections: usize,
    /// Bytes of all bodies, without the first 8 KiB of each.
    pub body_bytes: usize,
    /// Bytes of all responses, without the first 8 KiB of each.
    pub response_bytes: usize,
    /// Answers that are being compressed at a time; beyond them, answers are sent uncompressed.
    pub compressions: usize,
    /// How long the sender of a body may pause.
    pub body_pause: Duration,
    /// How long a body may take as a whole.
    pub body_total: Duration,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            requests: 2048,
            pooled: 512,
            // Without a known pool size, one client may use all of it.
            client_pooled: 512,
            client_connections: 512,
            body_bytes: 64 * 1024 * 1024,
            response_bytes: 64 * 1024 * 1024,
            compressions: 64,
            body_pause: Duration::from_secs(10),
            body_total: Duration::from_secs(30),
        }
    }
}

/// What a request waits for under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A connection of the shared pool. The wait for one times out, so only as many requests are admitted as can get one
    /// before that.
    Pooled,
    /// A queue with a bound of its own.
    Queued,
}

/// Why a request is refused under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    /// Too many requests are in progress.
    #[error("too many requests")]
    Requests,
    /// Too many requests need the shared pool.
    #[error("too many requests for the pool")]
    Pool,
    /// Too many requests of one client need the shared pool.
    #[error("too many requests of one client")]
    Client,
    /// Long bodies use all their memory.
    #[error("too many long bodies")]
    Bodies,
    /// Long responses use all their memory.
    #[error("too many long answers")]
    Responses,
}

impl From<Overloaded> for ApiError {
    fn from(overloaded: Overloaded) -> Self {
        let reason = match overloaded {
            Overloaded::Requests => "requests",
            Overloaded::Pool => "pool",
            Overloaded::Client => "caller",
            Overloaded::Bodies => "bodies",
            Overloaded::Responses => "responses",
        };
        metrics::counter!("afforo_http_shed_total", "reason" => reason).increment(1);
        Self::Unavailable("The server has too much to do, try again later.")
    }
}

/// Admits requests within the limits of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct AdmissionControl(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: AdmissionLimits,
    requests: Arc<Semaphore>,
    pooled: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
    shares: ClientShares,
}

impl AdmissionControl {
    /// Admission control with such limits.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self(Arc::new(Inner {
            requests: semaphore(limits.requests),
            pooled: semaphore(limits.pooled),
            body_bytes: semaphore(limits.body_bytes),
            shares: ClientShares::new(limits.client_pooled, limits.client_connections),
            limits,
        }))
    }

    /// Admits a request of a client.
    pub fn admit(&self, work: Work, client: Option<IpAddr>) -> Result<Permit, Overloaded> {
        let client = client.filter(|_| work == Work::Pooled);
        let permit = Permit(Arc::new(Admitted {
            control: self.clone(),
            work,
            share: client.map(|client| self.0.shares.of(client)),
            held: Mutex::default(),
        }));
        permit.acquire()?;
        Ok(permit)
    }
}

/// Admits one request until its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Permit(Arc<Admitted>);

#[derive(Debug)]
struct Admitted {
    control: AdmissionControl,
    work: Work,
    share: Option<Arc<ClientShare>>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    request: Option<OwnedSemaphorePermit>,
    pooled: Option<OwnedSemaphorePermit>,
    client_request: Option<OwnedSemaphorePermit>,
    client_connection: Option<OwnedSemaphorePermit>,
    body: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// A second permit for a request in a queue of its own that needs the shared pool meanwhile. `None` if it has one for the pool.
    pub(super) fn pooled(&self, client: Option<IpAddr>) -> Result<Option<Self>, Overloaded> {
        if self.0.work == Work::Pooled {
            return Ok(None);
        }
        self.0.control.admit(Work::Pooled, client).map(Some)
    }

    /// What the request waits for.
    pub(super) fn work(&self) -> Work {
        self.0.work
    }

    pub(super) fn limits(&self) -> &AdmissionLimits {
        &self.0.control.0.limits
    }

    /// Counts the request as in progress.
    pub(super) fn acquire(&self) -> Result<(), Overloaded> {
        let control = &self.0.control.0;
        let of_client = self.0.share.as_deref().map(|share| &share.requests);
        let of_pool = (self.0.work == Work::Pooled).then_some(&control.pooled);
        let client_request = try_acquire(of_client, Overloaded::Client)?;
        let request = try_acquire(Some(&control.requests), Overloaded::Requests)?;
        let pooled = try_acquire(of_pool, Overloaded::Pool)?;
        let mut held = self.held();
        (held.client_request, held.request, held.pooled) = (client_request, request, pooled);
        Ok(())
    }

    /// No longer counts the request, until it is acquired again. What its body takes stays counted.
    pub(super) fn release(&self) {
        let mut held = self.held();
        let body = held.body.take();
        *held = Held {
            body,
            ..Held::default()
        };
    }

    /// Waits while other requests of the client use all connections that one client may have.
    pub async fn wait_for_connection(&self) {
        if let Some(share) = &self.0.share {
            // The semaphore is never closed.
            let connection = share.connections.clone().acquire_owned().await.ok();
            self.held().client_connection = connection;
        }
    }

    /// Counts the bytes of a body that is `length` bytes long so far.
    pub(super) fn count_body(&self, length: usize) -> Result<(), Overloaded> {
        let counted = length.saturating_sub(UNCOUNTED);
        if counted == 0 {
            return Ok(());
        }
        let mut held = self.held();
        let known = held.body.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(counted - known).map_err(|_| Overloaded::Bodies)?;
        let bytes = self.0.control.0.body_bytes.clone();
        let bytes = bytes
            .try_acquire_many_owned(more)
            .map_err(|_| Overloaded::Bodies)?;
        match &mut held.body {
            Some(body) => body.merge(bytes),
            body => *body = Some(bytes),
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn try_acquire(
    semaphore: Option<&Arc<Semaphore>>,
    overloaded: Overloaded,
) -> Result<Option<OwnedSemaphorePermit>, Overloaded> {
    let permit = semaphore.map(|semaphore| semaphore.clone().try_acquire_owned());
    permit.transpose().map_err(|_| overloaded)
}
