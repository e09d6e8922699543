//! Typed calls of the Lua scripts. The `.lua` files explain them.

use std::{sync::LazyLock, time::Duration};

use redis::{FromRedisValue, ParsingError, RedisResult, Script, ToRedisArgs, Value, aio::ConnectionLike};

use super::QueueConfig;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/push.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/settle.lua")));
static EXTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/extend.lua")));
static REVIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/revive.lua")));
static REMOVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/remove.lua")));

/// Maximum number of jobs in one script call, so that no call blocks Redis for long.
pub(super) const PORTION: usize = 200;

/// The names of a queue's keys.
#[derive(Debug)]
pub(super) struct Keys {
    pub ready: String,
    pub delayed: String,
    pub lease: String,
    pub dead: String,
    pub done: String,
    pub job_prefix: String,
    pub wake: String,
    receipt_prefix: String,
}

impl Keys {
    pub(super) fn new(QueueConfig { prefix, name, .. }: &QueueConfig) -> Self {
        let key = |what: &str| format!("{prefix}{{q:{name}}}:{what}");
        Self {
            ready: key("ready"),
            delayed: key("delayed"),
            lease: key("lease"),
            dead: key("dead"),
            done: key("done"),
            job_prefix: key("job:"),
            wake: key("wake"),
            receipt_prefix: key("receipt:"),
        }
    }

    pub(super) fn job(&self, id: &str) -> String {
        format!("{}{id}", self.job_prefix)
    }
}

/// One run of a job. The token distinguishes runs of the same job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub id: String,
    pub token: String,
}

/// A claimed job.
#[derive(Debug)]
pub(super) struct Claimed {
    pub id: String,
    pub payload: Vec<u8>,
    pub attempt: u32,
    pub max_attempts: u32,
}

impl FromRedisValue for Claimed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (id, payload, attempt, max_attempts) = redis::from_redis_value(value)?;
        Ok(Self {
            id,
            payload,
            attempt,
            max_attempts,
        })
    }
}

/// How a run ended, as reported to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Retry,
    GiveUp,
    /// The run did not end: the job is ready again, without an attempt.
    Release,
}

impl Outcome {
    fn as_arg(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::GiveUp => "dead",
            Self::Release => "return",
        }
    }
}

/// A report to Redis of how a run ended.
#[derive(Debug)]
pub(super) struct Settlement {
    pub claim: Claim,
    pub outcome: Outcome,
    /// Empty unless the run failed.
    pub error: String,
}

/// What Redis did with a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Done,
    Retry,
    Dead,
    Returned,
    /// Another worker holds the job. Nothing changed.
    Lost,
}

impl Settled {
    /// The word of `settle.lua`, and the label in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::Dead => "dead",
            Self::Returned => "returned",
            Self::Lost => "lost",
        }
    }
}

impl FromRedisValue for Settled {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let text: String = redis::from_redis_value(value)?;
        [Self::Done, Self::Retry, Self::Dead, Self::Returned, Self::Lost]
            .into_iter()
            .find(|settled| settled.as_str() == text)
            .ok_or_else(|| "unknown outcome of settle.lua".into())
    }
}

/// `jobs` are ids and payloads. Returns for each whether it was new.
pub(super) async fn push(
    connection: &mut impl ConnectionLike,
    keys: &Keys,
    config: &QueueConfig,
    delay: Duration,
    jobs: &[(&str, Vec<u8>)],
) -> RedisResult<Vec<bool>> {
    let mut call = PUSH.prepare_invoke();
    call.key(&keys.ready).key(&keys.delayed);
    call.arg(&keys.job_prefix)
        .arg(&keys.wake)
        .arg(millis(delay))
        .arg(config.max_attempts);
    for (id, payload) in jobs {
        call.arg(id).arg(payload);
    }
    call.invoke_async(connection).await
}

/// Claims up to `wanted` jobs. With 0 it only repeats the answer to claim `number`.
pub(super) async fn claim(
    connection: &mut impl ConnectionLike,
    keys: &Keys,
    config: &QueueConfig,
    worker: &str,
    number: u64,
    wanted: usize,
) -> RedisResult<Vec<Claimed>> {
    let mut call = CLAIM.prepare_invoke();
    call.key(&keys.ready)
        .key(&keys.delayed)
        .key(&keys.lease)
        .key(&keys.dead);
    call.key(format!("{}{worker}", keys.receipt_prefix));
    call.arg(&keys.job_prefix)
        .arg(worker)
        .arg(number)
        .arg(millis(config.lease))
        .arg(wanted);
    call.invoke_async(connection).await
}

/// The token that `claim.lua` stores for this claim.
pub(super) fn token(worker: &str, number: u64) -> String {
    format!("{worker}:{number}")
}

/// Returns the new state of the job for each settlement, in order.
pub(super) async fn settle(
    connection: &mut impl ConnectionLike,
    keys: &Keys,
    config: &QueueConfig,
    settlements: &[Settlement],
) -> RedisResult<Vec<Settled>> {
    let mut call = SETTLE.prepare_invoke();
    call.key(&keys.ready)
        .key(&keys.delayed)
        .key(&keys.lease)
        .key(&keys.dead)
        .key(&keys.done);
    call.arg(&keys.job_prefix).arg(&keys.wake);
    call.arg(millis(config.backoff_base))
        .arg(millis(config.backoff_max))
        .arg(millis(config.keep_done));
    for Settlement {
        claim,
        outcome,
        error,
    } in settlements
    {
        call.arg(&claim.id)
            .arg(&claim.token)
            .arg(outcome.as_arg())
            .arg(error);
    }
    call.invoke_async(connection).await
}

/// Returns for each claim whether it still holds its lease.
pub(super) async fn extend(
    connection: &mut impl ConnectionLike,
    keys: &Keys,
    config: &QueueConfig,
    claims: &[Claim],
) -> RedisResult<Vec<bool>> {
    let mut call = EXTEND.prepare_invoke();
    call.key(&keys.lease)
        .arg(&keys.job_prefix)
        .arg(millis(config.lease));
    for claim in claims {
        call.arg(&claim.id).arg(&claim.token);
    }
    call.invoke_async(connection).await
}

/// Makes a dead job ready again; `false` if there is none with this id.
pub(super) async fn revive(connection: &mut impl ConnectionLike, keys: &Keys, id: &str) -> RedisResult<bool> {
    let mut call = REVIVE.prepare_invoke();
    call.key(&keys.ready)
        .key(&keys.dead)
        .arg(&keys.job_prefix)
        .arg(&keys.wake)
        .arg(id);
    call.invoke_async(connection).await
}

/// Deletes a dead job; `false` if there is none with this id.
pub(super) async fn remove(connection: &mut impl ConnectionLike, keys: &Keys, id: &str) -> RedisResult<bool> {
    let mut call = REMOVE.prepare_invoke();
    call.key(&keys.dead).arg(&keys.job_prefix).arg(id);
    call.invoke_async(connection).await
}

fn millis(duration: Duration) -> impl ToRedisArgs {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
