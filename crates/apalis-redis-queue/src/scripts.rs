//! The scripts of the queue, and what each of them takes and returns. The reasons are in the `.lua` files.

use std::{sync::LazyLock, time::Duration};

use redis::{
    ErrorKind, FromRedisValue, ParsingError, RedisResult, Script, ToRedisArgs, Value, aio::ConnectionLike,
};

use super::QueueConfig;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/push.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/settle.lua")));
static EXTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/extend.lua")));
static REVIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/revive.lua")));
static REMOVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/remove.lua")));

/// Most jobs that one call of a script deals with, so that none of them keeps Redis for long.
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

/// One run of one job. The token is what tells it from any other run of the same job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub id: String,
    pub token: String,
}

/// A job as it is handed to a worker.
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

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Retry,
    GiveUp,
    /// It did not end: the job goes back as if it had never been claimed.
    Return,
}

impl Verdict {
    fn as_arg(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::GiveUp => "dead",
            Self::Return => "return",
        }
    }
}

/// The end of a run, to be told to Redis.
#[derive(Debug)]
pub(super) struct Settlement {
    pub claim: Claim,
    pub verdict: Verdict,
    /// Empty unless the run failed.
    pub error: String,
}

/// What Redis made of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Done,
    Retry,
    Dead,
    Returned,
    /// The job was no longer ours; nothing was changed.
    Lost,
}

impl Settled {
    /// Its name in metrics.
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
        match redis::from_redis_value::<String>(value)?.as_str() {
            "done" => Ok(Self::Done),
            "retry" => Ok(Self::Retry),
            "dead" => Ok(Self::Dead),
            "returned" => Ok(Self::Returned),
            "lost" => Ok(Self::Lost),
            _ => Err("an outcome that settle.lua does not know".into()),
        }
    }
}

/// `jobs` are ids and payloads. Answers for each whether it was new.
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

/// Claims up to `wanted` jobs; with 0 it only asks again for what claim `number` has got already.
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

/// The token that `claim.lua` writes for this claim.
pub(super) fn token(worker: &str, number: u64) -> String {
    format!("{worker}:{number}")
}

/// Answers for each settlement, in order, what became of the job.
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
        verdict,
        error,
    } in settlements
    {
        call.arg(&claim.id)
            .arg(&claim.token)
            .arg(verdict.as_arg())
            .arg(error);
    }
    expect_one_each(call.invoke_async(connection).await?, settlements.len())
}

/// Answers for each claim whether it still holds its lease.
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
    expect_one_each(call.invoke_async(connection).await?, claims.len())
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

fn expect_one_each<T>(answers: Vec<T>, asked: usize) -> RedisResult<Vec<T>> {
    if answers.len() == asked {
        Ok(answers)
    } else {
        Err((
            ErrorKind::UnexpectedReturnType,
            "a script answered for another number of jobs",
        )
            .into())
    }
}

fn millis(duration: Duration) -> impl ToRedisArgs {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
