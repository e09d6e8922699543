//! The decision: an exact sliding window in one atomic Lua script.

use std::{sync::LazyLock, time::Duration};

use redis::{RedisResult, Script, aio::ConnectionLike};

use super::layer::RateLimitConfig;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("window.lua")));

/// The decision about a request, and the remaining quota of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub allowed: bool,
    /// Remaining requests now.
    pub remaining: u32,
    /// The time until the next counted request leaves the window; the whole window after a first request.
    pub reset: Duration,
}

impl RateLimitConfig {
    /// Decides about a request of `client`, and counts it if it passes.
    ///
    /// The script uses the clock of Redis, which all processes share.
    pub(super) async fn decide(
        &self,
        redis: &mut impl ConnectionLike,
        client: &str,
    ) -> RedisResult<Decision> {
        let window = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        let (allowed, remaining, reset): (bool, u32, u64) = SCRIPT
            .key(format!("{}rate_limit:{}:{client}", self.key_prefix, self.name))
            .arg(self.limit)
            .arg(window)
            .invoke_async(redis)
            .await?;
        Ok(Decision {
            allowed,
            remaining,
            reset: Duration::from_millis(reset),
        })
    }

    /// Makes a decision that counts for no client. Succeeds if Redis can decide.
    ///
    /// A `PING` would not do: Redis answers it while it is full, read-only or loading.
    pub(super) async fn probe(&self, redis: &mut impl ConnectionLike) -> RedisResult<()> {
        let fleeting = Self {
            window: Duration::from_millis(1),
            ..self.clone()
        };
        fleeting.decide(redis, "probe").await.map(drop)
    }
}
