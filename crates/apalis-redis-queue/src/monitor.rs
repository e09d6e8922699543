//! Listing jobs by state, and the status of the Redis server.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use deadpool_redis::Connection;
use redis::pipe;

use super::{Payload, Queue, QueueError};

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a worker.
    Ready,
    /// Waits for its due time, or for the end of the pause after a failure.
    Delayed,
    /// With a worker.
    Running,
    /// Done, and its id is still known.
    Done,
    /// Failed, and will not run again.
    Dead,
}

impl State {
    /// The state in the hash of a job. It does not tell ready from delayed.
    fn stored(self) -> &'static str {
        match self {
            Self::Ready | Self::Delayed => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// A snapshot of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The id it was pushed under.
    pub id: String,
    /// The payload as it is in Redis; none once it is done.
    pub payload: Option<String>,
    /// Number of runs, including the current one.
    pub attempts: u32,
    /// Number of runs after which it is dead.
    pub max_attempts: u32,
    /// The error of the last run.
    pub error: Option<String>,
    /// When it is due, its lease ends, it was done or it died. None while it is ready.
    pub at: Option<DateTime<Utc>>,
}

/// The status of a Redis server that answered.
#[derive(Clone, Debug)]
pub struct Server {
    /// The `name:value` lines of `INFO`; empty where the account may not run it.
    pub text: String,
    /// Round-trip time of a `PING`.
    pub latency: Duration,
    /// Number of workers subscribed to the queue.
    pub workers: u64,
}

/// State, payload, attempts, max attempts and error.
type Fields = (
    Option<String>,
    Option<Vec<u8>>,
    Option<u32>,
    Option<u32>,
    Option<String>,
);

const FIELDS: [&str; 5] = ["state", "payload", "attempts", "max_attempts", "error"];

impl<T: Payload> Queue<T> {
    /// Up to `limit` jobs in a state: waiting ones by due time, ended ones newest first. A job that changes its state
    /// meanwhile may be missing.
    pub async fn jobs(&self, state: State, limit: usize) -> Result<Vec<JobInfo>, QueueError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let keys = &self.keys;
        let last = isize::try_from(limit).unwrap_or(isize::MAX) - 1;
        let ids = match state {
            State::Ready => redis::Cmd::lrange(&keys.ready, -last - 1, -1),
            State::Delayed => redis::Cmd::zrange_withscores(&keys.delayed, 0, last),
            State::Running => redis::Cmd::zrange_withscores(&keys.lease, 0, last),
            State::Done => redis::Cmd::zrevrange_withscores(&keys.done, 0, last),
            State::Dead => return self.dead_by(DateTime::<Utc>::MAX_UTC, limit).await,
        };
        self.list(state, &ids).await
    }

    /// Up to `limit` jobs that died until `time` by the clock of Redis, newest first.
    pub async fn dead_by(&self, time: DateTime<Utc>, limit: usize) -> Result<Vec<JobInfo>, QueueError> {
        let (latest, limit) = (
            time.timestamp_millis(),
            isize::try_from(limit).unwrap_or(isize::MAX),
        );
        let dead = &self.keys.dead;
        let ids = redis::Cmd::zrevrangebyscore_limit_withscores(dead, latest, "-inf", 0, limit);
        self.list(State::Dead, &ids).await
    }

    /// The jobs whose ids a command returns, with their times unless they are ready.
    async fn list(&self, state: State, ids: &redis::Cmd) -> Result<Vec<JobInfo>, QueueError> {
        self.pool
            .run(async |connection: &mut Connection| {
                let ids: Vec<(String, Option<i64>)> = if state == State::Ready {
                    let ids: Vec<String> = ids.query_async(connection).await?;
                    ids.into_iter().rev().map(|id| (id, None)).collect()
                } else {
                    let ids: Vec<(String, i64)> = ids.query_async(connection).await?;
                    ids.into_iter().map(|(id, at)| (id, Some(at))).collect()
                };
                let fields = self
                    .read(connection, ids.iter().map(|(id, _)| id.as_str()))
                    .await?;
                let jobs = ids.into_iter().zip(fields).filter_map(|((id, at), fields)| {
                    let (stored, payload, attempts, max_attempts, error) = fields;
                    // The job was removed, retried or claimed after its id was read.
                    if stored? != state.stored() {
                        return None;
                    }
                    Some(JobInfo {
                        id,
                        payload: payload.map(|payload| String::from_utf8_lossy(&payload).into_owned()),
                        attempts: attempts.unwrap_or_default(),
                        max_attempts: max_attempts.unwrap_or_default(),
                        error,
                        at: at.and_then(DateTime::from_timestamp_millis),
                    })
                });
                Ok(jobs.collect())
            })
            .await
    }

    /// The number of done jobs whose id is still known.
    pub async fn done(&self) -> Result<u64, QueueError> {
        let keep = i64::try_from(self.config.keep_done.as_millis()).unwrap_or(i64::MAX);
        self.pool
            .run(async |connection: &mut Connection| {
                let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(connection).await?;
                let since = seconds * 1000 + micros / 1000 - keep;
                let count = redis::Cmd::zcount(&self.keys.done, since, "+inf");
                Ok(count.query_async(connection).await?)
            })
            .await
    }

    /// The states of the given jobs, without those that are unknown.
    pub async fn known(&self, ids: &[String]) -> Result<HashMap<String, State>, QueueError> {
        let fields = self
            .pool
            .run(async |connection: &mut Connection| {
                self.read(connection, ids.iter().map(String::as_str)).await
            })
            .await?;
        let state = |(state, _, _, _, error): Fields| match (state?.as_str(), error) {
            ("queued", None) => Some(State::Ready),
            ("queued", Some(_)) => Some(State::Delayed),
            ("running", _) => Some(State::Running),
            ("done", _) => Some(State::Done),
            _ => Some(State::Dead),
        };
        let known = ids
            .iter()
            .zip(fields)
            .filter_map(|(id, fields)| Some((id.clone(), state(fields)?)));
        Ok(known.collect())
    }

    /// The status of Redis, and the number of workers of this queue.
    pub async fn server(&self) -> Result<Server, QueueError> {
        self.pool
            .run(async |connection: &mut Connection| {
                let asked = Instant::now();
                let _: String = redis::cmd("PING").query_async(connection).await?;
                let latency = asked.elapsed();
                let text = redis::cmd("INFO")
                    .query_async(connection)
                    .await
                    .unwrap_or_default();
                let mut listening = redis::cmd("PUBSUB");
                listening.arg("NUMSUB").arg(&self.keys.wake);
                let (_, workers): (String, u64) = listening.query_async(connection).await?;
                Ok(Server {
                    text,
                    latency,
                    workers,
                })
            })
            .await
    }

    async fn read(
        &self,
        connection: &mut Connection,
        ids: impl Iterator<Item = &str>,
    ) -> Result<Vec<Fields>, QueueError> {
        let mut commands = pipe();
        let mut asked = 0;
        for id in ids {
            commands.hmget(self.keys.job(id), &FIELDS);
            asked += 1;
        }
        if asked == 0 {
            return Ok(Vec::new());
        }
        Ok(commands.query_async(connection).await?)
    }
}
