//! `/health/ready/`: readiness. It checks the database and Redis at most once a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Json, http::StatusCode};
use redis::{AsyncConnectionConfig, RedisResult};
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};
use utoipa::ToSchema;

use crate::{
    config::RedisSettings,
    db::{self, Database, HostStatus, Role, Versions},
    http::{ApiError, AppState},
    shutdown::Stop,
};

/// How long a check of the database or Redis may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the result of a check is reused.
const REUSE_FOR: Duration = Duration::from_secs(1);

/// Checks whether the server is ready. Clones share the last result.
#[derive(Clone)]
pub(super) struct Readiness(Arc<Inner>);

struct Inner {
    /// The check has a connection of its own: a busy server is still ready. Removing it would leave the others more to do.
    database: Arc<Database>,
    redis: redis::Client,
    /// The key that the check writes.
    probe_key: String,
    stop: Arc<Stop>,
    found: Mutex<Option<(Instant, Found)>>,
}

#[derive(Clone, Copy)]
struct Found {
    schema: SchemaState,
    redis: bool,
}

/// Whether the database's schema fits this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SchemaState {
    /// All migrations are applied.
    Current,
    /// Migrations are missing: `afforo migrate`.
    Behind,
    /// A newer version applied migrations that this server does not know. They are compatible with it.
    Ahead,
    /// The database is unavailable, or rejects writes.
    Unknown,
}

/// Whether the server is ready for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReadyStatus {
    /// The server is ready.
    Ready,
    /// The server is ready. Redis is unavailable: confirmations wait for it, and nothing is rate-limited.
    Degraded,
    /// The server is not ready.
    Unready,
}

/// The state of the server and of what it depends on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    status: ReadyStatus,
    /// Whether the server is stopping.
    draining: bool,
    /// Whether the database is available for writes.
    database: bool,
    schema: SchemaState,
    /// Whether Redis is available for writes.
    redis: bool,
    /// The hosts of `DATABASE_URL` and `DATABASE_REPLICA_URL`, in their order, if there are several. Their names are in the
    /// console.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    database_hosts: Vec<DatabaseHost>,
}

/// A database host.
#[derive(Debug, Serialize, ToSchema)]
struct DatabaseHost {
    role: Role,
    /// Whether the server connects to it.
    in_use: bool,
    /// `true` for a replica, which serves reads only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    replica: bool,
    /// How far a replica is behind, in seconds, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lag: Option<f64>,
}

impl From<HostStatus> for DatabaseHost {
    fn from(status: HostStatus) -> Self {
        Self {
            role: status.role,
            in_use: status.in_use,
            replica: status.is_replica,
            lag: status.lag.map(|lag| lag.as_secs_f64()),
        }
    }
}

impl Readiness {
    pub(super) fn new(state: &AppState, redis: &RedisSettings) -> RedisResult<Self> {
        Ok(Self(Arc::new(Inner {
            database: state.database.clone(),
            redis: redis::Client::open(redis.url())?,
            probe_key: format!("{}ready:probe", redis.redis_key_prefix),
            stop: state.stop.clone(),
            found: Mutex::default(),
        })))
    }

    async fn report(&self) -> Ready {
        let draining = self.0.stop.announced.is_cancelled();
        let found = self.found().await;
        let serves = matches!(found.schema, SchemaState::Current | SchemaState::Ahead);
        let status = match (serves && !draining, found.redis) {
            (false, _) => ReadyStatus::Unready,
            (true, false) => ReadyStatus::Degraded,
            (true, true) => ReadyStatus::Ready,
        };
        Ready {
            status,
            draining,
            database: found.schema != SchemaState::Unknown,
            schema: found.schema,
            redis: found.redis,
            database_hosts: self
                .0
                .database
                .host_statuses()
                .into_iter()
                .map(Into::into)
                .collect(),
        }
    }

    /// The last result, or a new one: one request checks while the others wait.
    async fn found(&self) -> Found {
        let mut known = self.0.found.lock().await;
        if let Some((when, found)) = *known
            && when.elapsed() < REUSE_FOR
        {
            return found;
        }
        let schema = timeout(CHECK_TIMEOUT, self.schema());
        let redis = timeout(CHECK_TIMEOUT, self.probe_redis());
        let (schema, redis) = tokio::join!(schema, redis);
        let found = Found {
            schema: match schema {
                Ok(Ok(schema)) => schema,
                _ => SchemaState::Unknown,
            },
            redis: matches!(redis, Ok(Ok(()))),
        };
        *known = Some((Instant::now(), found));
        found
    }

    async fn schema(&self) -> sqlx::Result<SchemaState> {
        let mut connection = self.0.database.probe.acquire().await?;
        if !db::takes_writes(&mut connection).await? {
            // Another server may accept writes by now.
            connection.close().await?;
            return Ok(SchemaState::Unknown);
        }
        let Versions { missing, unknown } = db::versions(&mut connection).await?;
        Ok(match (missing.is_empty(), unknown.is_empty()) {
            (false, _) => SchemaState::Behind,
            (true, false) => SchemaState::Ahead,
            (true, true) => SchemaState::Current,
        })
    }

    /// Writes a key that expires at once, by a script: a Redis that is read-only, full or loading still answers `PING`.
    async fn probe_redis(&self) -> RedisResult<()> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CHECK_TIMEOUT))
            .set_response_timeout(Some(CHECK_TIMEOUT));
        let redis = &self.0.redis;
        let mut connection = redis
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let write = redis::Script::new("redis.call('SET', KEYS[1], '', 'PX', 1)");
        write.key(&self.0.probe_key).invoke_async(&mut connection).await
    }
}

/// Check that the server is ready for requests.
#[utoipa::path(get, path = "/health/ready/", tag = "Health",
    responses(
        (status = 200, description = "The server is ready.", body = Ready),
        (status = 503, description = "The server is not ready: the database is unavailable or read-only, migrations are missing, or the server is stopping.", body = Ready),
    ))]
pub(super) async fn ready(
    Extension(readiness): Extension<Option<Readiness>>,
) -> Result<(StatusCode, Json<Ready>), ApiError> {
    let Some(readiness) = readiness else {
        return Err(ApiError::not_found());
    };
    let ready = readiness.report().await;
    let status = match ready.status {
        ReadyStatus::Ready | ReadyStatus::Degraded => StatusCode::OK,
        ReadyStatus::Unready => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(ready)))
}
