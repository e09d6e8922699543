//! `/health/ready/`: whether requests should be sent to this server. However often it is asked, its database and Redis are
//! asked once a second at most.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Json, http::StatusCode};
use redis::{AsyncConnectionConfig, RedisResult};
use serde::Serialize;
use sqlx::PgPool;
use tokio::{sync::Mutex, time::timeout};
use utoipa::ToSchema;

use crate::{
    config::RedisSettings,
    db::{self, Versions},
    http::{ApiError, AppState},
    shutdown::Stop,
};

/// How long an answer of the database or Redis is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long what was found is told again.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Whether the server is ready. Clones share what they know.
#[derive(Clone)]
pub(super) struct Readiness(Arc<Inner>);

struct Inner {
    /// A connection of its own: a server that has much to do is still ready, and taking it away would leave the others more.
    probe: PgPool,
    redis: redis::Client,
    /// The key that is written to see whether Redis takes writes.
    probe_key: String,
    stop: Arc<Stop>,
    found: Mutex<Option<(Instant, Found)>>,
}

#[derive(Clone, Copy)]
struct Found {
    schema: SchemaState,
    redis: bool,
}

/// How the database's schema and this program fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SchemaState {
    /// All migrations were applied that the server knows, and no others.
    Current,
    /// Migrations are missing: `afforo migrate`.
    Behind,
    /// There are migrations that the server does not know. They are made so that it works beside its successor.
    Ahead,
    /// The database does not answer, or takes no writes.
    Unknown,
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReadyStatus {
    /// They should.
    Ready,
    /// They should. Redis is away: confirmations wait for it, and nothing is rate-limited.
    Degraded,
    /// They should not.
    Unready,
}

/// What the server needs, and whether it is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    status: ReadyStatus,
    /// Whether the server is about to stop.
    draining: bool,
    /// Whether the database answers and takes writes.
    database: bool,
    schema: SchemaState,
    /// Whether Redis answers and takes writes.
    redis: bool,
}

impl Readiness {
    pub(super) fn new(state: &AppState, redis: &RedisSettings) -> RedisResult<Self> {
        Ok(Self(Arc::new(Inner {
            probe: state.database.probe.clone(),
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
        }
    }

    /// What is known, or is found out by one of those who ask while the others wait.
    async fn found(&self) -> Found {
        let mut known = self.0.found.lock().await;
        if let Some((when, found)) = *known
            && when.elapsed() < KNOWN_FOR
        {
            return found;
        }
        let schema = timeout(ANSWER_WITHIN, self.schema());
        let redis = timeout(ANSWER_WITHIN, self.probe_redis());
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
        let mut connection = self.0.probe.acquire().await?;
        if !db::takes_writes(&mut connection).await? {
            // It may be another server that takes them by now.
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

    /// Writes a key that is gone at once, as a script. A Redis that is read-only, full or loading answers a `PING`.
    async fn probe_redis(&self) -> RedisResult<()> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let redis = &self.0.redis;
        let mut connection = redis
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let write = redis::Script::new("redis.call('SET', KEYS[1], '', 'PX', 1)");
        write.key(&self.0.probe_key).invoke_async(&mut connection).await
    }
}

/// Whether requests should be sent to this server.
#[utoipa::path(get, path = "/health/ready/", tag = "Health",
    responses(
        (status = 200, description = "They should.", body = Ready),
        (status = 503, description = "They should not: the database does not answer or takes no writes, migrations are missing, or the server is about to stop.", body = Ready),
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
