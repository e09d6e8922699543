//! The keys that a server has seen lately: a request does not wait for the database to know its key, and a key that was
//! revoked is known to be within four seconds.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use ring::hmac;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{
    Failures, Grant, Secret, Stores,
    api_key::{self, State},
};
use crate::audit::Who;

/// After this time the next request of a key looks it up again, while the others go on.
const FRESH: Duration = Duration::from_secs(2);
/// After this time nobody goes on without a look.
const STALE: Duration = Duration::from_secs(4);
/// Keys that are remembered, at most, those that do not exist included.
const MOST_KEYS: usize = 10_000;
/// Failures of one address within a minute that are answered as such.
const MOST_FAILURES: usize = 20;

/// Why a key does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no key of this house.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Too many of them failed from this address, for as long as this.
    TooOften(Duration),
}

/// Knows the keys.
#[derive(Debug)]
pub struct Keyring {
    db: PgPool,
    signing_key: hmac::Key,
    failures: Failures,
    known: Mutex<HashMap<i64, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// When somebody last went to look.
    asked_at: Instant,
    /// When there was last an answer.
    answered_at: Instant,
    key: Option<Arc<Key>>,
}

#[derive(Debug)]
struct Key {
    mac: Vec<u8>,
    grant: Arc<Grant>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    /// The minute since 1970 that it was last used in, as far as that was noted.
    used_in_minute: AtomicI64,
}

impl Keyring {
    /// Looks keys up in `db`.
    #[must_use]
    pub fn new(db: PgPool, secret: &Secret) -> Self {
        Self {
            db,
            signing_key: api_key::signing_key(secret),
            failures: Failures::new(MOST_FAILURES, Duration::from_mins(1)),
            known: Mutex::default(),
        }
    }

    /// What a key grants, or why it does not. A good key is let in from any address: nobody is locked out by the failures of a
    /// neighbour, or by their own of a moment ago.
    pub async fn admit(
        &self,
        text: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Result<Arc<Grant>, Refused>> {
        let id = api_key::read(text);
        let key = match id {
            None => None,
            Some(id) => self.find(id).await?,
        };
        let key = key.filter(|key| hmac::verify(&self.signing_key, text.as_bytes(), &key.mac).is_ok());
        let refused = match (id, key) {
            (Some(id), Some(key)) => match api_key::state(key.revoked_at, key.expires_at, now) {
                State::Good => {
                    self.note_use(id, &key, address, now);
                    return Ok(Ok(key.grant.clone()));
                }
                State::Expired => Refused::Expired,
                State::Revoked => Refused::Revoked,
            },
            _ => Refused::Unknown,
        };
        Ok(Err(self.too_often(address).map_or(refused, Refused::TooOften)))
    }

    /// How long an address has to wait that failed too often before. Otherwise this failure is counted.
    fn too_often(&self, address: Option<IpAddr>) -> Option<Duration> {
        let (address, now) = (address?, Instant::now());
        let wait = self.failures.must_wait(address, now);
        if wait.is_none() {
            self.failures.count(address, now);
        }
        wait
    }

    async fn find(&self, id: i64) -> sqlx::Result<Option<Arc<Key>>> {
        let now = Instant::now();
        if let Some(entry) = self.lock().get_mut(&id) {
            if now - entry.asked_at < FRESH && now - entry.answered_at < STALE {
                return Ok(entry.key.clone());
            }
            entry.asked_at = now;
        }
        let key = self.look_up(id).await?;
        let mut known = self.lock();
        if known.len() >= MOST_KEYS {
            known.retain(|_, entry| now - entry.answered_at < STALE);
            if known.len() >= MOST_KEYS {
                known.clear();
            }
        }
        // The answer tells of the moment in which it was asked for.
        let entry = Entry {
            asked_at: now,
            answered_at: now,
            key,
        };
        let key = entry.key.clone();
        // Whoever asked later knows more.
        if known.get(&id).is_none_or(|known| known.answered_at < now) {
            known.insert(id, entry);
        }
        Ok(key)
    }

    async fn look_up(&self, id: i64) -> sqlx::Result<Option<Arc<Key>>> {
        let row = sqlx::query!(
            "select name, mac, scopes, stores, expires_at, revoked_at, last_used_at from api_key where id = $1",
            id
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(|row| {
            Arc::new(Key {
                mac: row.mac,
                grant: Arc::new(Grant {
                    who: Who::Key {
                        id,
                        name: row.name.into(),
                    },
                    scopes: api_key::scopes(&row.scopes),
                    stores: Stores::of_column(row.stores),
                }),
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                used_in_minute: AtomicI64::new(row.last_used_at.map_or(0, |at| at.timestamp() / 60)),
            })
        }))
    }

    /// Notes that a key was used, once a minute; nobody waits for that.
    fn note_use(&self, id: i64, key: &Key, address: Option<IpAddr>, now: DateTime<Utc>) {
        let (minute, noted) = (now.timestamp() / 60, key.used_in_minute.load(Ordering::Relaxed));
        let is_mine = minute > noted
            && key
                .used_in_minute
                .compare_exchange(noted, minute, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_mine {
            return;
        }
        let db = self.db.clone();
        tokio::spawn(async move {
            let noted = sqlx::query!(
                "update api_key set last_used_at = $2, last_used_from = $3 where id = $1",
                id,
                now,
                address.map(|address| address.to_string())
            )
            .execute(&db)
            .await;
            if let Err(error) = noted {
                tracing::debug!(key = id, %error, "the use of a key could not be noted");
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
