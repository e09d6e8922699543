//! The connection of a worker: commands, and the subscription that wakes it.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use redis::{
    Client, IntoConnectionInfo, ProtocolVersion, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::pool::takes_no_writes;

/// A connection that fails for this long is replaced: see [`Link::note`].
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// Minimum time between two replacements of a connection to a Redis that refuses writes.
const REPLACE_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Link {
    client: Client,
    wake: Arc<Wake>,
    state: Mutex<State>,
}

struct State {
    manager: ConnectionManager,
    failing_since: Option<Instant>,
    replaced_at: Instant,
}

impl Link {
    /// Connects at its first use. Must be called within a Tokio runtime.
    pub(super) fn new(url: &str) -> RedisResult<Self> {
        let info = url.into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let wake = Arc::new(Wake::default());
        let state = State {
            manager: manager(&client, &wake)?,
            failing_since: None,
            replaced_at: Instant::now(),
        };
        Ok(Self {
            client,
            wake,
            state: Mutex::new(state),
        })
    }

    /// Runs commands, and notes whether they failed. Waits for two seconds at most.
    pub(super) async fn run<R>(
        &self,
        exchange: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<R>,
    ) -> RedisResult<R> {
        let mut manager = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .manager
            .clone();
        let result = exchange(&mut manager).await;
        self.note(result.as_ref().err());
        result
    }

    /// Ready after a push message since the last time it was ready.
    pub(super) fn poll_woken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.wake.waker.register(cx.waker());
        if self.wake.called.swap(false, Ordering::AcqRel) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Logs the start and end of an outage, and replaces a broken connection.
    ///
    /// The manager reconnects when the peer closes the connection. It does not when the peer is silent (a half-open
    /// TCP connection), nor when a reconnect failed for a reason other than I/O, such as a refused login.
    fn note(&self, error: Option<&redis::RedisError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = error else {
            if let Some(since) = state.failing_since.take() {
                tracing::info!(after_ms = since.elapsed().as_millis(), "redis answers again");
            }
            return;
        };
        let since = *state.failing_since.get_or_insert_with(|| {
            tracing::warn!(%error, "redis does not answer; jobs wait until it does");
            Instant::now()
        });
        let is_suspect = if takes_no_writes(error) {
            state.replaced_at.elapsed() > REPLACE_EVERY
        } else {
            since.elapsed().min(state.replaced_at.elapsed()) > SUSPECT_AFTER
        };
        if is_suspect {
            state.replaced_at = Instant::now();
            if let Ok(fresh) = manager(&self.client, &self.wake) {
                state.manager = fresh;
            }
        }
    }
}

/// Set by each push message of Redis: a wake-up, or a lost connection.
#[derive(Default)]
struct Wake {
    called: AtomicBool,
    waker: AtomicWaker,
}

fn manager(client: &Client, wake: &Arc<Wake>) -> RedisResult<ConnectionManager> {
    let wake = wake.clone();
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(Duration::from_secs(1)))
        .set_connection_timeout(Some(Duration::from_secs(1)))
        // Callers repeat failed commands. A long backoff of the manager would delay recovery.
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(100))
        .set_automatic_resubscription()
        .set_push_sender(move |_| {
            wake.called.store(true, Ordering::Release);
            wake.waker.wake();
            Ok::<(), Infallible>(())
        });
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}
