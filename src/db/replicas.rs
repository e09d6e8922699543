//! Replicas for reads: which of them may serve a client.
//!
//! A replica is behind the primary, so a client could miss its own writes there. A client that wrote reads from the primary
//! until a replica has the write (`freshness.rs`). A replica that does not answer, is too far behind, or is no standby any more
//! is passed over.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::counter;
use sqlx::{Row, postgres::PgRow};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    HostStatus, Hosts, ReadPool, Role,
    freshness::{Lsn, Position, SAMPLE_EVERY, Sample, Samples, Write},
    url::Host,
};

/// A server that does not answer within this time is passed over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Clients whose last write is remembered. Beyond that, all clients count as the one that wrote last.
const MOST_WRITERS: usize = 100_000;

/// A client as far as its own writes concern it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientId {
    /// A program, by the id of its key.
    Key(i64),
    /// An operator, by the id of the account.
    Account(i64),
    /// Any client of this address.
    Address(Option<IpAddr>),
}

/// The replicas of a server. Clones share their state.
#[derive(Clone, Debug)]
pub struct Replicas(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    replicas: Vec<Replica>,
    max_lag: Duration,
    /// The replica that serves the next read.
    next: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Replica {
    name: String,
    reads: ReadPool,
    /// Asks how far the replica is. No read can occupy its connection.
    probe: ReadPool,
    /// How far it had replayed the log. A replica that restarted may be less far for a while, so `reads` checks it for each new
    /// connection.
    replayed: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    samples: Samples,
    /// The last write of each client, as long as a replica may miss it.
    writers: HashMap<ClientId, Instant>,
    /// The last write of a client after `writers` was full.
    others: Option<Instant>,
    /// The last answer of each replica.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    role: Role,
    /// How far it has replayed the log.
    replayed: Lsn,
    /// Cancelled when the replica stops answering, to end the reads that wait for it.
    lost: CancellationToken,
}

/// The replica that serves a read.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its connections.
    pub reads: ReadPool,
    /// Cancelled when the replica stops answering.
    pub lost: CancellationToken,
}

impl Replicas {
    /// Replicas on `hosts`, each with up to `pool_size` connections.
    pub(super) fn new(hosts: Vec<Host>, pool_size: u32, max_lag: Duration) -> Self {
        let known = hosts.iter().map(|_| Known::unreachable()).collect();
        let replica = |host: Host| {
            let replayed = Arc::new(AtomicU64::new(0));
            let name = host.name.clone();
            let host = Hosts::new(vec![host]);
            Replica {
                name,
                reads: ReadPool::on_replica(host.clone(), pool_size, replayed.clone()),
                probe: ReadPool::on_replica(host, 1, Arc::default()),
                replayed,
            }
        };
        Self(Arc::new(Inner {
            replicas: hosts.into_iter().map(replica).collect(),
            max_lag,
            next: AtomicUsize::new(0),
            state: Mutex::new(State {
                samples: Samples::new(max_lag),
                writers: HashMap::new(),
                others: None,
                known,
            }),
        }))
    }

    /// A replica that has all writes of `client`, and those up to `position`; none if the primary has to serve the read.
    pub fn choose(&self, client: &ClientId, position: Option<Position>) -> Option<Chosen> {
        let now = Instant::now();
        let state = self.lock();
        let chosen = self.fresh(&state, client, position, now);
        let (database, reason) = match &chosen {
            Ok(_) => ("replica", ""),
            Err(reason) => ("primary", *reason),
        };
        counter!("afforo_routed_reads_total", "database" => database, "reason" => reason).increment(1);
        let index = chosen.ok()?;
        Some(Chosen {
            reads: self.0.replicas[index].reads.clone(),
            lost: state.known[index].lost.clone(),
        })
    }

    /// The index of a replica that is fresh enough, each in turn, or why there is none.
    fn fresh(
        &self,
        state: &State,
        client: &ClientId,
        position: Option<Position>,
        now: Instant,
    ) -> Result<usize, &'static str> {
        let required = state.required(client, position).ok_or("own write")?;
        let count = self.0.replicas.len();
        let first = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut reason = "unreachable";
        for index in (0..count).map(|offset| first.wrapping_add(offset) % count) {
            let known = &state.known[index];
            if known.role != Role::Standby {
                continue;
            }
            let lag = state.samples.lag(known.replayed, now);
            if lag.is_none_or(|lag| lag > self.0.max_lag) {
                reason = "lag";
            } else if known.replayed < required {
                reason = "own write";
            } else {
                return Ok(index);
            }
        }
        Err(reason)
    }

    /// Notes that `client` has just written. Returns the position that other servers need to serve it; `None` before the first
    /// sample of the primary.
    pub fn note_write(&self, client: ClientId) -> Option<Position> {
        let now = Instant::now();
        let mut state = self.lock();
        state.note_write(client, now);
        state.samples.position(now)
    }

    /// The state of each replica.
    pub fn statuses(&self) -> Vec<HostStatus> {
        let now = Instant::now();
        let state = self.lock();
        let replicas = self.0.replicas.iter().zip(&state.known);
        let status = |(replica, known): (&Replica, &Known)| {
            let is_standby = known.role == Role::Standby;
            let lag = state.samples.lag(known.replayed, now).filter(|_| is_standby);
            HostStatus {
                host: replica.name.clone(),
                role: known.role,
                is_replica: true,
                in_use: lag.is_some_and(|lag| lag <= self.0.max_lag),
                lag,
            }
        };
        replicas.map(status).collect()
    }

    /// Samples the primary and all replicas until the pools are closed. `primary` must have a connection of its own.
    pub(super) fn watch(&self, primary: ReadPool) {
        tokio::spawn(self.clone().sample_primary(primary));
        for index in 0..self.0.replicas.len() {
            tokio::spawn(self.clone().probe_replica(index));
        }
    }

    async fn sample_primary(self, primary: ReadPool) {
        let mut times = times();
        while !primary.is_closed() {
            times.tick().await;
            self.sample(&primary).await;
        }
    }

    async fn probe_replica(self, index: usize) {
        let mut times = times();
        while !self.0.replicas[index].probe.is_closed() {
            times.tick().await;
            self.probe(index).await;
        }
    }

    /// Asks the primary for its time and the end of its log.
    async fn sample(&self, primary: &ReadPool) {
        let asked = Instant::now();
        let question = sqlx::query(
            "select (extract(epoch from clock_timestamp()) * 1000000)::bigint, (pg_current_wal_flush_lsn() - '0/0')::bigint",
        );
        let Some((at, lsn)) = answer(question.fetch_one(primary)).await else {
            return;
        };
        let mut state = self.lock();
        state.samples.add(Sample { asked, at, lsn });
        state.forget();
    }

    /// Asks a replica how far it is.
    async fn probe(&self, index: usize) {
        let replica = &self.0.replicas[index];
        let question = sqlx::query(
            "select pg_is_in_recovery()::int::bigint, coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint",
        );
        let answer = answer(question.fetch_one(&replica.probe)).await;
        let mut state = self.lock();
        let known = &mut state.known[index];
        let before = known.role;
        known.role = match answer {
            Some((1, _)) => Role::Standby,
            Some(_) => Role::Primary,
            None => Role::Unreachable,
        };
        if let Some((_, replayed)) = answer {
            known.replayed = replayed;
            replica.replayed.store(replayed, Ordering::Relaxed);
        } else {
            std::mem::take(&mut known.lost).cancel();
        }
        if known.role != before {
            let (host, role) = (&replica.name, known.role.name());
            tracing::info!(host, role, "the role of a database replica changed");
        }
    }

    /// Closes all pools.
    pub(super) fn close(&self) {
        for replica in &self.0.replicas {
            replica.reads.close();
            replica.probe.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn unreachable() -> Self {
        Self {
            role: Role::Unreachable,
            replayed: 0,
            lost: CancellationToken::new(),
        }
    }
}

impl State {
    fn note_write(&mut self, client: ClientId, now: Instant) {
        if self.writers.len() >= MOST_WRITERS && !self.writers.contains_key(&client) {
            self.others = Some(now);
        } else {
            self.writers.insert(client, now);
        }
    }

    /// How far a replica must be for a client; `None` if only the primary is sure to have its writes.
    fn required(&self, client: &ClientId, position: Option<Position>) -> Option<Lsn> {
        let here = self.writers.get(client).copied().max(self.others);
        let writes = [here.map(Write::Here), position.map(Write::Anywhere)];
        writes.into_iter().flatten().try_fold(0, |required, write| {
            Some(self.samples.required(write)?.max(required))
        })
    }

    /// Forgets the writes that every fresh replica has.
    fn forget(&mut self) {
        let Some(beginning) = self.samples.beginning() else {
            return;
        };
        self.writers.retain(|_, when| *when >= beginning);
        self.others = self.others.filter(|when| *when >= beginning);
    }
}

/// Two numbers that a server answers with; `None` if it does not answer.
async fn answer(question: impl Future<Output = sqlx::Result<PgRow>>) -> Option<(u64, u64)> {
    let row = timeout(ANSWER_TIMEOUT, question).await.ok()?.ok()?;
    let number = |index: usize| u64::try_from(row.try_get::<i64, _>(index).ok()?).ok();
    Some((number(0)?, number(1)?))
}

fn times() -> Interval {
    let mut times = interval(SAMPLE_EVERY);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_without_room_count_as_the_one_that_wrote_last() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut samples = Samples::new(Duration::ZERO);
        for second in 0..20 {
            let lsn = second * 10;
            samples.add(Sample {
                asked: at(second),
                at: second,
                lsn,
            });
        }
        let mut state = State {
            samples,
            writers: HashMap::new(),
            others: None,
            known: Vec::new(),
        };
        for id in (0..).take(MOST_WRITERS) {
            state.note_write(ClientId::Key(id), at(2));
        }
        let reader = ClientId::Account(1);
        assert_eq!(state.required(&reader, None), Some(0));
        state.note_write(ClientId::Account(2), at(3));
        assert_eq!(state.writers.len(), MOST_WRITERS);
        assert_eq!(state.required(&reader, None), Some(30));

        state.forget();
        assert_eq!(state.writers.len(), MOST_WRITERS);
        // Every fresh replica has writes that are older than all samples.
        for second in 20..24 {
            let lsn = second * 10;
            state.samples.add(Sample {
                asked: at(second),
                at: second,
                lsn,
            });
        }
        state.forget();
        assert!(state.writers.is_empty());
        assert_eq!(state.required(&reader, None), Some(0));
    }
}
