//! The decision: an exact sliding window, judged inside Redis by one atomic script.

use std::{sync::LazyLock, time::Duration};

use redis::{RedisResult, Script, aio::ConnectionLike};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("window.lua")));

/// How much a client may ask, under which name.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// What the keys begin with.
    pub prefix: String,
    /// Names the limiter in keys, headers and metrics. Printable ASCII without `"` and `\`.
    pub name: &'static str,
    /// Requests per window.
    pub limit: u32,
    /// The length of the window, at least a millisecond; fractions of one are dropped.
    pub window: Duration,
}

/// What was decided about one request, and where its client stands after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub allowed: bool,
    /// Requests that may still follow now.
    pub remaining: u32,
    /// The time until the next counted request leaves the window; the whole window after a first request.
    pub reset: Duration,
}

impl Policy {
    /// Judges a request of `client` and notes it if it may pass.
    ///
    /// The clock is Redis's own, so that any number of processes agree on the time.
    pub(super) async fn judge(&self, redis: &mut impl ConnectionLike, client: &str) -> RedisResult<Decision> {
        let window = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        let (allowed, remaining, reset): (bool, u32, u64) = SCRIPT
            .key(format!("{}rate_limit:{}:{client}", self.prefix, self.name))
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

    /// Goes the way of a request without counting anybody's: succeeds if Redis would really decide.
    ///
    /// A `PING` would not tell: a Redis that is full, read-only or still loading answers it.
    pub(super) async fn probe(&self, redis: &mut impl ConnectionLike) -> RedisResult<()> {
        let fleeting = Self {
            window: Duration::from_millis(1),
            ..self.clone()
        };
        fleeting.judge(redis, "probe").await.map(drop)
    }
}
