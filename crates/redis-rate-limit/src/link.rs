//! The connection of a limiter to Redis, with a circuit breaker.
//!
//! While the state is `Down`, requests fail at once, and one recovery task tries to connect every [`PAUSE`]. Requests never
//! open connections. `ConnectionManager` of the `redis` crate cannot replace this: it does not reconnect when Redis hangs,
//! and while Redis is down each request tries to connect.

use std::{
    pin::pin,
    sync::{Arc, Once, Weak},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{layer::RateLimitConfig, window::Decision};

/// Pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// Minimum timeout of an attempt to connect. Pause and attempt together stay below a second.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);

pub(super) struct Link {
    client: Client,
    config: RateLimitConfig,
    state: watch::Sender<State>,
    /// Whether requests without a peer address were logged.
    pub(super) peer_missing: Once,
}

/// One recovery task runs in the states `Connecting` and `Down`, and none in the others.
#[derive(Clone)]
enum State {
    /// Before the first request. A layer may be built outside a runtime, so nothing connects earlier.
    Unused,
    /// The connection was up recently or is the first one: requests wait for it.
    Connecting,
    Up(Connection),
    /// Redis is known to be down or to refuse writes: requests pass at once.
    Down,
}

#[derive(Clone)]
struct Connection {
    /// Identifies the connection, for failures that are noticed after it was replaced.
    opened: Instant,
    redis: MultiplexedConnection,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoDecision {
    #[error("Redis is known to be down")]
    Down,
    #[error("Redis did not answer in time")]
    TooSlow,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Link {
    pub(super) fn new(client: Client, config: RateLimitConfig) -> Arc<Self> {
        Arc::new(Self {
            client,
            config,
            state: watch::Sender::new(State::Unused),
            peer_missing: Once::new(),
        })
    }

    pub(super) fn config(&self) -> &RateLimitConfig {
        &self.config
    }

    /// Decides about a request of `client` within the timeout.
    ///
    /// A dead connection, such as after a restart of Redis, is replaced and the decision repeated. If the answer to the first
    /// try was lost, the request counts twice.
    pub(super) async fn decide(self: &Arc<Self>, client: &str) -> Result<Decision, NoDecision> {
        let deadline = Instant::now() + self.config.timeout;
        let connection = self.connection(deadline).await?;
        match self.decide_over(&connection, client, deadline).await {
            Err(NoDecision::Redis(error)) if error.is_unrecoverable_error() => {
                let connection = self.connection(deadline).await?;
                self.decide_over(&connection, client, deadline).await
            }
            result => result,
        }
    }

    /// The open connection. Waits only in the state `Connecting`.
    async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Connection, NoDecision> {
        let mut states = self.state.subscribe();
        let unused = |state: &State| matches!(state, State::Unused);
        if unused(&states.borrow()) {
            self.transition(State::Connecting, unused);
        }
        let settled = states.wait_for(|state| matches!(state, State::Up(_) | State::Down));
        let state = timeout_at(deadline, settled)
            .await
            .map_err(|_| NoDecision::TooSlow)?;
        match state.as_deref() {
            Ok(State::Up(connection)) => Ok(connection.clone()),
            _ => Err(NoDecision::Down),
        }
    }

    async fn decide_over(
        self: &Arc<Self>,
        connection: &Connection,
        client: &str,
        deadline: Instant,
    ) -> Result<Decision, NoDecision> {
        let mut redis = connection.redis.clone();
        let decision = timeout_at(deadline, self.config.decide(&mut redis, client)).await;
        let decision = decision
            .map_err(|_| NoDecision::TooSlow)
            .and_then(|answer| Ok(answer?));
        decision.inspect_err(|reason| self.drop_connection(connection, reason))
    }

    /// Stops using a connection that failed to decide.
    fn drop_connection(self: &Arc<Self>, connection: &Connection, reason: &NoDecision) {
        let is_in_use = |state: &State| matches!(state, State::Up(now) if now.opened == connection.opened);
        let refused = matches!(reason, NoDecision::Redis(error) if !error.is_unrecoverable_error());
        if refused {
            // Redis answers, but it is full, read-only, or needs a password. That does not change at once.
            if self.transition(State::Down, is_in_use) {
                self.warn(reason);
            }
        } else if self.transition(State::Connecting, is_in_use) {
            // The connection is dead or hangs, but Redis may be up. The next requests wait for a new connection, so
            // that a single slow answer does not suspend limiting.
            tracing::debug!(limiter = self.config.name, %reason, "replacing the connection");
        }
    }

    /// Moves from an expected state to `next`, and starts the recovery task. Returns whether it did.
    fn transition(self: &Arc<Self>, next: State, expected: impl Fn(&State) -> bool) -> bool {
        let pause = if matches!(next, State::Down) {
            PAUSE
        } else {
            Duration::ZERO
        };
        let changed = self.state.send_if_modified(|state| {
            let matches = expected(state);
            if matches {
                *state = next;
            }
            matches
        });
        if changed {
            tokio::spawn(recover(Arc::downgrade(self), pause));
        }
        changed
    }

    /// Opens a connection, and probes that Redis decides in time.
    async fn open(&self) -> Result<Connection, NoDecision> {
        let timeout_config = Some(self.config.timeout.max(CONNECT_TIMEOUT));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(timeout_config)
            .set_response_timeout(timeout_config);
        let mut redis = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let probe = timeout(self.config.timeout, self.config.probe(&mut redis)).await;
        probe.map_err(|_| NoDecision::TooSlow)??;
        Ok(Connection {
            opened: Instant::now(),
            redis,
        })
    }

    /// Suspends limiting after the recovery task failed or took longer than a request may wait.
    fn suspend(&self, reason: &NoDecision) {
        let before = self.state.send_replace(State::Down);
        if matches!(before, State::Connecting) {
            self.warn(reason);
        }
    }

    fn warn(&self, reason: &NoDecision) {
        tracing::warn!(
            limiter = self.config.name,
            reason = reason as &dyn std::error::Error,
            "rate limiting is suspended, requests pass uncounted"
        );
    }
}

/// Tries to connect until Redis is back or the limiter is dropped.
async fn recover(link: Weak<Link>, mut pause: Duration) {
    loop {
        sleep(pause).await;
        let Some(link) = link.upgrade() else { return };
        let mut attempt = pin!(link.open());
        let result = if let Ok(result) = timeout(link.config.timeout, &mut attempt).await {
            result
        } else {
            link.suspend(&NoDecision::TooSlow);
            attempt.await
        };
        match result {
            Ok(connection) => {
                let before = link.state.send_replace(State::Up(connection));
                if matches!(before, State::Down) {
                    tracing::info!(limiter = link.config.name, "rate limiting is back");
                }
                return;
            }
            Err(reason) => link.suspend(&reason),
        }
        pause = PAUSE;
    }
}
