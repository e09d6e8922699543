//! What a server takes on at a time: requests that are worked on, and the memory of their bodies. Whatever is beyond is
//! refused at once, so that what was taken on is done in good time.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use futures::StreamExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{
    ApiError,
    share::{Share, Shares},
};

/// The largest body that is received.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// What a body may have without being counted: nobody can keep others from sending small ones by sending large ones. It is
/// about what a connection's buffer has anyway.
pub(super) const SMALL_BODY: usize = 8 * 1024;

/// How much is taken on.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// Requests that are worked on at a time.
    pub requests: usize,
    /// Those of them that need the shared pool of connections.
    pub pooled: usize,
    /// Those of them that come from one caller.
    pub caller_pooled: usize,
    /// Those of them that are at work, and so may have a connection.
    pub caller_connections: usize,
    /// Bytes of bodies at a time, counting of each what is beyond its first 8 KiB.
    pub body_bytes: usize,
    /// Bytes of answers at a time, counting of each what is beyond its first 8 KiB.
    pub response_bytes: usize,
    /// Answers that are being compressed at a time; beyond them, answers are sent as they are.
    pub compressions: usize,
    /// How long the sender of a body may pause.
    pub body_pause: Duration,
    /// How long a body may take as a whole.
    pub body_total: Duration,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            requests: 2048,
            pooled: 512,
            // Of a pool whose size is not known nothing is kept from anybody.
            caller_pooled: 512,
            caller_connections: 512,
            body_bytes: 64 * 1024 * 1024,
            response_bytes: 64 * 1024 * 1024,
            compressions: 64,
            body_pause: Duration::from_secs(10),
            body_total: Duration::from_secs(30),
        }
    }
}

/// What a request waits for when there is much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A connection of the shared pool. A wait for it has an end, after which all who wait would have waited in vain; so
    /// they are fewer.
    Pooled,
    /// A queue of its own, which has a bound of its own.
    Queued,
}

/// A number that stays within its limit.
#[derive(Debug)]
pub(super) struct Bounded {
    used: AtomicUsize,
    limit: usize,
}

impl Bounded {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    pub(super) fn take(&self, count: usize) -> bool {
        let within = |used: usize| used.checked_add(count).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }

    /// Takes what cannot be refused, if need be beyond the limit.
    pub(super) fn take_anyway(&self, count: usize) {
        self.used.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }

    pub(super) fn give_back(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
}

/// The entrance of a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Intake(Arc<Entrance>);

#[derive(Debug)]
struct Entrance {
    limits: IntakeLimits,
    requests: Bounded,
    pooled: Bounded,
    body_bytes: Bounded,
    shares: Shares,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new(IntakeLimits::default())
    }
}

impl Intake {
    /// An entrance with such limits.
    #[must_use]
    pub fn new(limits: IntakeLimits) -> Self {
        Self(Arc::new(Entrance {
            requests: Bounded::new(limits.requests),
            pooled: Bounded::new(limits.pooled),
            body_bytes: Bounded::new(limits.body_bytes),
            shares: Shares::new(limits.caller_pooled, limits.caller_connections),
            limits,
        }))
    }

    /// Takes on a request of a caller, or says what there is too much of.
    pub fn admit(&self, work: Work, caller: Option<IpAddr>) -> Result<Turn, Shed> {
        let share = caller.filter(|_| work == Work::Pooled);
        let turn = Turn(Arc::new(Held {
            intake: self.clone(),
            work,
            share: share.map(|caller| self.0.shares.of(caller)),
            permits: Mutex::default(),
            admitted: AtomicBool::new(false),
            body_bytes: AtomicUsize::new(0),
        }));
        turn.enter()?;
        Ok(turn)
    }
}

/// Why a request is refused when there is too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// Too many requests are worked on.
    #[error("too many requests")]
    Requests,
    /// Too many of them need the shared pool.
    #[error("too many requests for the pool")]
    Pool,
    /// Too many of those are one caller's.
    #[error("too many requests of one caller")]
    Caller,
    /// Long bodies take all the memory that there is for them.
    #[error("too many long bodies")]
    Bodies,
    /// Long answers take all the memory that there is for them.
    #[error("too many long answers")]
    Responses,
}

impl From<Shed> for ApiError {
    fn from(shed: Shed) -> Self {
        let reason = match shed {
            Shed::Requests => "requests",
            Shed::Pool => "pool",
            Shed::Caller => "caller",
            Shed::Bodies => "bodies",
            Shed::Responses => "responses",
        };
        metrics::counter!("afforo_http_shed_total", "reason" => reason).increment(1);
        Self::Unavailable("The server has too much to do, try again later.")
    }
}

/// Describes the metrics of the web kit.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "afforo_http_shed_total",
        "Requests and connections that were refused because there was too much to do, by what there was too much of"
    );
}

/// The place of one request. What it holds is given back when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Turn(Arc<Held>);

#[derive(Debug)]
struct Held {
    intake: Intake,
    work: Work,
    /// The caller's, if the request takes of it.
    share: Option<Arc<Share>>,
    /// What it takes of it: a place, and a connection.
    permits: Mutex<Vec<OwnedSemaphorePermit>>,
    admitted: AtomicBool,
    body_bytes: AtomicUsize,
}

impl Turn {
    fn enter(&self) -> Result<(), Shed> {
        let entrance = &self.0.intake.0;
        let place = match &self.0.share {
            Some(share) => Some(share.place().ok_or(Shed::Caller)?),
            None => None,
        };
        if !entrance.requests.take(1) {
            return Err(Shed::Requests);
        }
        if self.0.work == Work::Pooled && !entrance.pooled.take(1) {
            entrance.requests.give_back(1);
            return Err(Shed::Pool);
        }
        self.0.hold_permit(place);
        self.0.admitted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Waits while other requests of the caller take all connections that it may have.
    pub async fn wait_for_share(&self) {
        if let Some(share) = &self.0.share {
            self.0.hold_permit(share.connection().await);
        }
    }

    /// Receives a body, in bounded time and memory. Meanwhile the place is free for others: a client that sends slowly
    /// takes none from those that wait for an answer.
    pub(super) async fn receive(&self, body: Body, limit: usize) -> Result<Bytes, BodyFault> {
        self.0.leave();
        let received = self.collect(body, limit).await?;
        self.enter()?;
        self.wait_for_share().await;
        Ok(received)
    }

    async fn collect(&self, body: Body, limit: usize) -> Result<Bytes, BodyFault> {
        let limits = &self.0.intake.0.limits;
        // Known from the head: none of it need be read.
        if body.size_hint().lower() > limit as u64 {
            return Err(BodyFault::TooLarge);
        }
        let end = Instant::now() + limits.body_total;
        let mut parts = body.into_data_stream();
        let (mut first, mut all) = (Bytes::new(), Vec::new());
        loop {
            let patience = limits
                .body_pause
                .min(end.saturating_duration_since(Instant::now()));
            let part = match timeout(patience, parts.next()).await {
                Err(_) => return Err(BodyFault::TooSlow),
                Ok(None) => break,
                Ok(Some(part)) => part.map_err(|_| BodyFault::Unreadable)?,
            };
            let length = first.len() + all.len() + part.len();
            if length > limit {
                return Err(BodyFault::TooLarge);
            }
            self.0.hold(length)?;
            // Nearly every body comes in one part, and is not copied.
            if first.is_empty() && all.is_empty() {
                first = part;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&part);
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }
}

impl Held {
    fn permits(&self) -> std::sync::MutexGuard<'_, Vec<OwnedSemaphorePermit>> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_permit(&self, permit: Option<OwnedSemaphorePermit>) {
        self.permits().extend(permit);
    }

    fn leave(&self) {
        if !self.admitted.swap(false, Ordering::Relaxed) {
            return;
        }
        self.permits().clear();
        let entrance = &self.intake.0;
        entrance.requests.give_back(1);
        if self.work == Work::Pooled {
            entrance.pooled.give_back(1);
        }
    }

    /// Counts a body that has so many bytes by now.
    fn hold(&self, length: usize) -> Result<(), Shed> {
        let counted = length.saturating_sub(SMALL_BODY);
        let more = counted - self.body_bytes.load(Ordering::Relaxed);
        if !self.intake.0.body_bytes.take(more) {
            return Err(Shed::Bodies);
        }
        self.body_bytes.store(counted, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leave();
        let counted = self.body_bytes.load(Ordering::Relaxed);
        self.intake.0.body_bytes.give_back(counted);
    }
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum BodyFault {
    #[error("it is too large")]
    TooLarge,
    #[error("it comes too slowly")]
    TooSlow,
    #[error("it could not be read")]
    Unreadable,
    #[error(transparent)]
    Shed(#[from] Shed),
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        use axum::http::StatusCode;
        match fault {
            BodyFault::TooLarge => Self::detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body exceeds 1 MiB."),
            BodyFault::TooSlow => Self::TooSlow("Request body came too slowly."),
            BodyFault::Unreadable => Self::detail(StatusCode::BAD_REQUEST, "Request body could not be read."),
            BodyFault::Shed(shed) => shed.into(),
        }
    }
}
