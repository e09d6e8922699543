//! Looks up API keys in PostgreSQL: one by one, or in batches for addresses with too many failures.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicI64},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use sqlx::PgPool;
use tokio::{sync::Semaphore, time::sleep};

use super::{Grant, Stores, api_key};
use crate::audit::Actor;

/// How long look-ups are collected into a batch.
const GATHER: Duration = Duration::from_millis(20);

/// The stored state of a key.
#[derive(Debug)]
pub(super) struct Key {
    pub mac: Vec<u8>,
    pub grant: Arc<Grant>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// The minute of the last recorded use, since 1970.
    pub used_in_minute: AtomicI64,
}

type Found = Arc<HashMap<i64, Arc<Key>>>;
type Lookup = Shared<BoxFuture<'static, Result<Found, Arc<sqlx::Error>>>>;

/// Looks up keys. Clones share batches.
#[derive(Clone, Debug)]
pub(super) struct KeyLookup(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: PgPool,
    /// The batch that is being collected, with its ids.
    gathering: Mutex<Option<(Vec<i64>, Lookup)>>,
    /// One batch runs at a time.
    connection: Semaphore,
}

impl KeyLookup {
    pub fn new(db: PgPool) -> Self {
        Self(Arc::new(Inner {
            db,
            gathering: Mutex::default(),
            connection: Semaphore::new(1),
        }))
    }

    /// Looks up one key.
    pub async fn find(&self, id: i64) -> sqlx::Result<Option<Arc<Key>>> {
        Ok(self.0.find(&[id]).await?.remove(&id))
    }

    /// Looks up a key in a batch. All batches together use one connection, at most fifty times a second. A key created before
    /// this call is found.
    pub async fn find_gathered(&self, id: i64) -> sqlx::Result<Option<Arc<Key>>> {
        let found = {
            let mut gathering = self.0.lock();
            let (ids, found) = gathering.get_or_insert_with(|| {
                let inner = self.0.clone();
                (Vec::new(), inner.gather().boxed().shared())
            });
            ids.push(id);
            found.clone()
        };
        match found.await {
            Ok(found) => Ok(found.get(&id).cloned()),
            // Requests share the error, which cannot be cloned.
            Err(error) => {
                tracing::debug!(%error, "keys could not be looked up");
                Err(sqlx::Error::PoolTimedOut)
            }
        }
    }
}

impl Inner {
    async fn gather(self: Arc<Self>) -> Result<Found, Arc<sqlx::Error>> {
        sleep(GATHER).await;
        let permit = self.connection.acquire().await;
        let ids = self.lock().take().map(|(ids, _)| ids).unwrap_or_default();
        let found = self.find(&ids).await;
        drop(permit);
        found.map(Arc::new).map_err(Arc::new)
    }

    async fn find(&self, ids: &[i64]) -> sqlx::Result<HashMap<i64, Arc<Key>>> {
        let rows = sqlx::query!(
            "select id, name, mac, scopes, stores, expires_at, revoked_at, last_used_at from api_key where id = any($1)",
            ids
        )
        .fetch_all(&self.db)
        .await?;
        let keys = rows.into_iter().map(|row| {
            let key = Key {
                mac: row.mac,
                grant: Arc::new(Grant {
                    actor: Actor::Key {
                        id: row.id,
                        name: row.name.into(),
                    },
                    scopes: api_key::scopes(&row.scopes),
                    stores: Stores::of_column(row.stores),
                }),
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                used_in_minute: AtomicI64::new(row.last_used_at.map_or(0, |at| at.timestamp() / 60)),
            };
            (row.id, Arc::new(key))
        });
        Ok(keys.collect())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Vec<i64>, Lookup)>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
