//! Looking at jobs, for who looks after them: which wait, run, failed and are done.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use deadpool_redis::Connection;
use redis::pipe;

use super::{Payload, Queue, QueueError};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a worker.
    Ready,
    /// Waits for its time, or for the end of the pause after a failure.
    Delayed,
    /// With a worker.
    Running,
    /// Done, and still known.
    Done,
    /// Failed for good.
    Dead,
}

/// A job as it was just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenJob {
    /// The id it was pushed under.
    pub id: String,
    /// The payload as it is in Redis; none once it is done.
    pub payload: Option<String>,
    /// Runs it had, the one under way included.
    pub attempts: u32,
    /// Runs that it may have.
    pub max_attempts: u32,
    /// What the last run failed with.
    pub error: Option<String>,
    /// When it is due, when its lease ends, when it was done or when it died; none while it is ready.
    pub at: Option<DateTime<Utc>>,
}

/// A Redis that answered.
#[derive(Clone, Debug)]
pub struct Server {
    /// `name:value` lines; none where we may not ask for them.
    pub text: String,
    /// How long it took to answer.
    pub latency: Duration,
    /// Workers that listen for jobs of the queue.
    pub workers: u64,
}

/// State, payload, attempts, most attempts and error.
type Fields = (
    Option<String>,
    Option<Vec<u8>>,
    Option<u32>,
    Option<u32>,
    Option<String>,
);

const FIELDS: [&str; 5] = ["state", "payload", "attempts", "max_attempts", "error"];

impl<T: Payload> Queue<T> {
    /// Up to `limit` jobs of a state: those that are next first, or the latest of what is over. A job that moves on meanwhile
    /// may be missing.
    pub async fn jobs(&self, state: State, limit: usize) -> Result<Vec<SeenJob>, QueueError> {
        let (keys, last) = (&self.keys, isize::try_from(limit).unwrap_or(isize::MAX) - 1);
        let ids = match state {
            State::Ready => redis::Cmd::lrange(&keys.ready, -last - 1, -1),
            State::Delayed => redis::Cmd::zrange_withscores(&keys.delayed, 0, last),
            State::Running => redis::Cmd::zrange_withscores(&keys.lease, 0, last),
            State::Done => redis::Cmd::zrevrange_withscores(&keys.done, 0, last),
            State::Dead => redis::Cmd::zrevrange_withscores(&keys.dead, 0, last),
        };
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
                    let (state, payload, attempts, max_attempts, error) = fields;
                    // Gone since its id was read.
                    state?;
                    Some(SeenJob {
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

    /// How many jobs are done and still known.
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

    /// Where those of some jobs stand that are known.
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

    /// What Redis says of itself, how long it took to answer, and how many workers listen for jobs of this queue.
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
