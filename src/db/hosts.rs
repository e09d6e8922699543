//! The hosts of the database: which of them takes writes, and the change to another one after a failover.
//!
//! A process with several hosts asks each of them for its role twice a second. When another host than the current one takes
//! writes, the pools connect there.

use std::{io, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tokio::{sync::watch, time::timeout};
use utoipa::ToSchema;

use super::url::{DatabaseUrl, Host};

/// A host that does not answer within this time counts as unreachable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The same for a command that starts, which asks once.
const LOCATE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It takes writes.
    Primary,
    /// A primary whose transactions are read-only by default.
    ReadOnly,
    /// It is in recovery: it replays the changes of a primary.
    Standby,
    /// It does not answer.
    Unreachable,
}

impl Role {
    /// All roles, for metrics.
    pub(super) const ALL: [Self; 4] = [Self::Primary, Self::ReadOnly, Self::Standby, Self::Unreachable];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::ReadOnly => "read_only",
            Self::Standby => "standby",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The state of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// Host and port, without credentials.
    pub host: String,
    /// Its role when it was last asked.
    pub role: Role,
    /// Whether the pools connect to it.
    pub in_use: bool,
    /// Whether it is a replica for reads; else a host of `DATABASE_URL`.
    pub is_replica: bool,
    /// How far a replica is behind the primary.
    pub lag: Option<Duration>,
}

/// The hosts of a process. Clones share their state.
#[derive(Clone, Debug)]
pub struct Hosts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hosts: Vec<Host>,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// The index of the host in use.
    current: usize,
    /// The roles of all hosts; none before they were asked.
    roles: Vec<Role>,
}

impl Hosts {
    /// At least one host. The first is in use until another one is known to take writes.
    pub fn new(hosts: Vec<Host>) -> Self {
        Self(Arc::new(Inner {
            hosts,
            state: watch::Sender::default(),
        }))
    }

    /// Whether there are several hosts.
    pub fn are_several(&self) -> bool {
        self.0.hosts.len() > 1
    }

    /// How to connect to the host in use.
    pub fn options(&self) -> PgConnectOptions {
        self.0.hosts[self.0.state.borrow().current].options.clone()
    }

    /// The state of each host, in the order of the URL. None if the hosts are not watched.
    pub fn statuses(&self) -> Vec<HostStatus> {
        let State { current, roles } = self.0.state.borrow().clone();
        let hosts = self.0.hosts.iter().zip(roles).enumerate();
        let status = |(index, (host, role)): (usize, (&Host, Role))| HostStatus {
            host: host.name.clone(),
            role,
            in_use: index == current,
            is_replica: false,
            lag: None,
        };
        hosts.map(status).collect()
    }

    /// Waits until the roles of all hosts are known.
    pub async fn asked(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state
            .wait_for(|state| !self.are_several() || !state.roles.is_empty())
            .await;
    }

    /// Connections to ask each host for its role.
    pub(super) fn probes(&self) -> Vec<Probe> {
        self.0.hosts.iter().map(Probe::new).collect()
    }

    /// Asks all hosts for their roles. Returns whether another one is to be used from now on.
    pub(super) async fn ask(&self, probes: &mut [Probe]) -> bool {
        let roles = join_all(probes.iter_mut().map(Probe::role)).await;
        let current = chosen(self.0.state.borrow().current, &roles);
        let before = self.0.state.send_replace(State { current, roles });
        if current != before.current {
            self.log_change(&before);
        }
        current != before.current
    }

    fn log_change(&self, before: &State) {
        let State { current, roles } = self.0.state.borrow().clone();
        let name = |index: usize| &self.0.hosts[index].name;
        tracing::warn!(
            from = name(before.current),
            role = roles[before.current].name(),
            to = name(current),
            "another database host takes writes: using it"
        );
        // The first choice is no failover.
        if !before.roles.is_empty() {
            metrics::counter!("afforo_database_failovers_total").increment(1);
        }
    }
}

/// The host to use: the current one while it takes writes or no other does. A slow answer of the primary changes nothing.
fn chosen(current: usize, roles: &[Role]) -> usize {
    let takes_writes = |role: &Role| *role == Role::Primary;
    if takes_writes(&roles[current]) {
        return current;
    }
    roles.iter().position(takes_writes).unwrap_or(current)
}

/// A connection to one host, to ask for its role.
pub(super) struct Probe {
    host: Host,
    connection: Option<PgConnection>,
    last: Option<Role>,
}

impl Probe {
    fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            connection: None,
            last: None,
        }
    }

    /// Asks, and logs a change.
    async fn role(&mut self) -> Role {
        let answer = timeout(ANSWER_TIMEOUT, self.ask()).await;
        let answer = answer.unwrap_or_else(|silent| Err(sqlx::Error::Io(silent.into())));
        let host = &self.host.name;
        match answer {
            Ok(role) => {
                if self.last.replace(role) != Some(role) {
                    tracing::info!(host, "a database host is {}", role.name());
                }
                role
            }
            Err(error) => {
                self.connection = None;
                if self.last.replace(Role::Unreachable) != Some(Role::Unreachable) {
                    tracing::warn!(host, %error, "a database host does not answer");
                }
                Role::Unreachable
            }
        }
    }

    async fn ask(&mut self) -> sqlx::Result<Role> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(PgConnection::connect_with(&self.host.options).await?),
        };
        role_of(connection).await
    }
}

async fn role_of(connection: &mut PgConnection) -> sqlx::Result<Role> {
    let asked = "select pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
    let row = connection.fetch_one(asked).await?;
    Ok(match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Role::Standby,
        (false, true) => Role::ReadOnly,
        (false, false) => Role::Primary,
    })
}

/// No host takes writes.
#[derive(Debug, thiserror::Error)]
#[error("no database host takes writes: {}", .0.join(", "))]
struct NoPrimary(Vec<String>);

/// The options of the host that takes writes. A single host is not asked.
///
/// # Errors
/// When none of several hosts takes writes. The message has the role of each.
pub(super) async fn locate(url: &DatabaseUrl) -> sqlx::Result<PgConnectOptions> {
    if let [only] = &url.hosts[..] {
        return Ok(only.options.clone());
    }
    let mut asked: FuturesUnordered<_> = url.hosts.iter().map(ask_once).collect();
    let mut others = Vec::new();
    while let Some((host, answer)) = asked.next().await {
        match answer {
            Ok(Role::Primary) => return Ok(host.options.clone()),
            Ok(role) => others.push(format!("{} is {}", host.name, role.name())),
            Err(error) => others.push(format!("{} does not answer ({error})", host.name)),
        }
    }
    Err(sqlx::Error::Io(io::Error::other(NoPrimary(others))))
}

async fn ask_once(host: &Host) -> (&Host, sqlx::Result<Role>) {
    let asked = async {
        let mut connection = PgConnection::connect_with(&host.options).await?;
        let role = role_of(&mut connection).await?;
        connection.close().await?;
        Ok(role)
    };
    let silent = || Err(sqlx::Error::PoolTimedOut);
    (
        host,
        timeout(LOCATE_TIMEOUT, asked).await.unwrap_or_else(|_| silent()),
    )
}

#[cfg(test)]
mod tests {
    use super::{
        Role::{Primary, ReadOnly, Standby, Unreachable},
        chosen,
    };

    #[test]
    fn current_host_is_kept_unless_only_another_takes_writes() {
        for (roles, expected) in [
            ([Standby, Primary, Standby], 1),
            ([Primary, Standby, Standby], 0),
            ([Standby, Unreachable, Primary], 2),
            ([Primary, ReadOnly, Standby], 0),
            // Two primaries: only fencing can tell which one is right.
            ([Primary, Primary, Standby], 1),
            // Before the promotion, or while the primary is slow to answer.
            ([Standby, Unreachable, Standby], 1),
            ([Unreachable, Standby, Unreachable], 1),
        ] {
            assert_eq!(chosen(1, &roles), expected, "{roles:?}");
        }
    }
}
