//! The limiter's connection to Redis, over which a request gets a decision or a failure in time.
//!
//! The state of the link is also the circuit breaker. While it is `Down`, requests are told so at once, and
//! one task of the link's own looks for Redis every [`PAUSE`]; no request ever opens a connection. redis'
//! `ConnectionManager` would do less: a Redis that hangs is no reason to reconnect for it, and one that is
//! away is called by every request.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::window::{Decision, Policy};

/// Between two attempts to reach a Redis that is away.
const PAUSE: Duration = Duration::from_millis(250);

/// For one attempt, unless requests wait for longer. Pause and attempt together stay below the second within which limiting
/// should be back.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);

pub(super) struct Link {
    client: Client,
    policy: Policy,
    /// How long a request may wait for its decision.
    budget: Duration,
    state: watch::Sender<State>,
}

/// Exactly one recovery task runs while the link is `Connecting` or `Down`, and none otherwise.
#[derive(Clone)]
enum State {
    /// Nobody has asked yet. Nothing is connected before, because a layer may be built outside a runtime.
    Unused,
    /// It was up a moment ago, or was never tried: worth waiting for.
    Connecting,
    Up(Connection),
    /// Redis is known to be away, or not to do its work.
    Down,
}

#[derive(Clone)]
struct Connection {
    /// Tells this connection from the one that replaced it, for failures that are noticed late.
    opened: Instant,
    redis: MultiplexedConnection,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoDecision {
    #[error("Redis is known to be away")]
    Down,
    #[error("Redis did not answer in time")]
    TooSlow,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Link {
    pub(super) fn new(client: Client, policy: Policy, budget: Duration) -> Arc<Self> {
        Arc::new(Self {
            client,
            policy,
            budget,
            state: watch::Sender::new(State::Unused),
        })
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges a request of `client` within the budget.
    ///
    /// A connection that turns out to be dead, as after a restart of Redis, is replaced and the request
    /// judged over the new one. If the first judgement was lost on its way back, the request counts twice.
    pub(super) async fn judge(self: &Arc<Self>, client: &str) -> Result<Decision, NoDecision> {
        let deadline = Instant::now() + self.budget;
        let connection = self.connection(deadline).await?;
        match self.judge_over(&connection, client, deadline).await {
            Err(NoDecision::Redis(error)) if error.is_unrecoverable_error() => {
                let connection = self.connection(deadline).await?;
                self.judge_over(&connection, client, deadline).await
            }
            result => result,
        }
    }

    /// The open connection, waiting for it only while it is likely to come.
    async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Connection, NoDecision> {
        let mut states = self.state.subscribe();
        let unused = |state: &State| matches!(state, State::Unused);
        if unused(&states.borrow()) {
            self.turn(State::Connecting, unused);
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

    async fn judge_over(
        self: &Arc<Self>,
        connection: &Connection,
        client: &str,
        deadline: Instant,
    ) -> Result<Decision, NoDecision> {
        let mut redis = connection.redis.clone();
        let decision = timeout_at(deadline, self.policy.judge(&mut redis, client)).await;
        let decision = decision
            .map_err(|_| NoDecision::TooSlow)
            .and_then(|answer| Ok(answer?));
        decision.inspect_err(|reason| self.abandon(connection, reason))
    }

    /// Stops using a connection over which there was no decision.
    fn abandon(self: &Arc<Self>, connection: &Connection, reason: &NoDecision) {
        let is_in_use = |state: &State| matches!(state, State::Up(now) if now.opened == connection.opened);
        let refused = matches!(reason, NoDecision::Redis(error) if !error.is_unrecoverable_error());
        if refused {
            // Redis answers, but it is full, read-only, or wants a password. It will not change its mind at
            // once.
            if self.turn(State::Down, is_in_use) {
                self.warn(reason);
            }
        } else if self.turn(State::Connecting, is_in_use) {
            // The connection is dead or hangs. Redis may well be there, so the next requests wait for a new
            // one: a single slow answer must not let everybody pass.
            tracing::debug!(limiter = self.policy.name, %reason, "replacing the connection");
        }
    }

    /// Leaves an expected state without a recovery task for one with it; says whether it did.
    fn turn(self: &Arc<Self>, next: State, expected: impl Fn(&State) -> bool) -> bool {
        let pause = if matches!(next, State::Down) {
            PAUSE
        } else {
            Duration::ZERO
        };
        let turned = self.state.send_if_modified(|state| {
            let turn = expected(state);
            if turn {
                *state = next;
            }
            turn
        });
        if turned {
            tokio::spawn(recover(Arc::downgrade(self), pause));
        }
        turned
    }

    /// Opens a connection over which Redis is known to decide, and to do so in time.
    async fn open(&self) -> Result<Connection, NoDecision> {
        let patience = Some(self.budget.max(CONNECT_TIMEOUT));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(patience)
            .set_response_timeout(patience);
        let mut redis = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let probe = timeout(self.budget, self.policy.probe(&mut redis)).await;
        probe.map_err(|_| NoDecision::TooSlow)??;
        Ok(Connection {
            opened: Instant::now(),
            redis,
        })
    }

    /// The recovery task got no connection, or needs longer than a request should wait.
    fn give_up(&self, reason: &NoDecision) {
        let before = self.state.send_replace(State::Down);
        if matches!(before, State::Connecting) {
            self.warn(reason);
        }
    }

    fn warn(&self, reason: &NoDecision) {
        tracing::warn!(
            limiter = self.policy.name,
            reason = reason as &dyn std::error::Error,
            "rate limiting is suspended, requests pass uncounted"
        );
    }
}

/// Looks for Redis until it is back or the limiter is gone.
async fn recover(link: Weak<Link>, mut pause: Duration) {
    loop {
        sleep(pause).await;
        let Some(link) = link.upgrade() else { return };
        let mut attempt = pin!(link.open());
        let result = if let Ok(result) = timeout(link.budget, &mut attempt).await {
            result
        } else {
            link.give_up(&NoDecision::TooSlow);
            attempt.await
        };
        match result {
            Ok(connection) => {
                let before = link.state.send_replace(State::Up(connection));
                if matches!(before, State::Down) {
                    tracing::info!(limiter = link.policy.name, "rate limiting is back");
                }
                return;
            }
            Err(reason) => link.give_up(&reason),
        }
        pause = PAUSE;
    }
}
