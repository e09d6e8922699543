//! A cache of API keys, so that requests rarely wait for the database. A revoked key is refused within four seconds.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use ring::{
    digest::{SHA256, digest},
    hmac,
};
use sqlx::PgPool;

use super::{
    Grant, Secret,
    api_key::{self, State},
    key_lookup::{Key, KeyLookup},
};
use crate::keyed_limiter::{KeyedLimiter, MAX_KEYS};
use redis_rate_limit::client_network;

/// After this time the next request refreshes the key in the background.
const FRESH: Duration = Duration::from_secs(2);
/// After this time requests wait for a refresh.
const STALE: Duration = Duration::from_secs(4);
/// How long a text without a key is remembered.
const UNISSUED: Duration = Duration::from_secs(10);
/// Maximum number of cached keys, and of remembered texts without a key.
const MOST_KEYS: usize = 10_000;
/// Failures of an address that get 401 at once, and then one every three seconds; further ones get 429. IPv6 addresses count by
/// /64.
const MOST_FAILURES: u32 = 20;

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The key is unknown.
    Unknown,
    /// The key has expired.
    Expired,
    /// The key was revoked.
    Revoked,
    /// Too many keys from this address failed. The next attempt is allowed after this time.
    TooOften(Duration),
}

/// The cache of keys.
#[derive(Debug)]
pub struct Keyring {
    db: PgPool,
    signing_key: hmac::Key,
    failures: KeyedLimiter<IpAddr>,
    lookup: KeyLookup,
    known: Mutex<HashMap<i64, Entry>>,
    /// Hashes of texts with a right checksum but without a key, and the time of that finding. The whole text is hashed, so
    /// that a guessed id cannot block a key that is created later.
    unissued: Mutex<HashMap<[u8; 32], Instant>>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Time of the last look-up.
    asked_at: Instant,
    /// Time of the last answer.
    answered_at: Instant,
    key: Arc<Key>,
}

impl Keyring {
    /// A cache of the keys in `db`.
    pub fn new(db: PgPool, secret: &Secret) -> Self {
        Self {
            lookup: KeyLookup::new(db.clone()),
            db,
            signing_key: api_key::signing_key(secret),
            failures: KeyedLimiter::new(MOST_FAILURES, Duration::from_mins(1), MAX_KEYS),
            known: Mutex::default(),
            unissued: Mutex::default(),
        }
    }

    /// The grant of a key, or why it is refused. A valid key is accepted from any address, whatever other keys from there
    /// failed.
    pub async fn verify(
        &self,
        text: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Result<Arc<Grant>, KeyError>> {
        let id = api_key::read(text);
        let key = match id {
            None => None,
            Some(id) => self.find(id, text, address).await?,
        };
        let key = key.filter(|key| hmac::verify(&self.signing_key, text.as_bytes(), &key.mac).is_ok());
        let refused = match (id, key) {
            (Some(id), Some(key)) => match api_key::state(key.revoked_at, key.expires_at, now) {
                State::Good => {
                    self.note_use(id, &key, address, now);
                    return Ok(Ok(key.grant.clone()));
                }
                State::Expired => KeyError::Expired,
                State::Revoked => KeyError::Revoked,
            },
            _ => KeyError::Unknown,
        };
        let too_often = address.and_then(|address| {
            self.failures
                .admit(Some(client_network(address)), Instant::now())
                .err()
        });
        Ok(Err(too_often.map_or(refused, KeyError::TooOften)))
    }

    /// Finds a key: in the cache, else among texts without a key, else by a look-up. Addresses with too many failures share
    /// batched look-ups.
    async fn find(&self, id: i64, text: &str, address: Option<IpAddr>) -> sqlx::Result<Option<Arc<Key>>> {
        let now = Instant::now();
        let mut is_known = false;
        if let Some(entry) = self.lock().get_mut(&id) {
            if now - entry.asked_at < FRESH && now - entry.answered_at < STALE {
                return Ok(Some(entry.key.clone()));
            }
            entry.asked_at = now;
            is_known = true;
        }
        let hash = hash(text);
        let unissued = self.unissued().get(&hash).copied();
        if unissued.is_some_and(|found_at| now - found_at < UNISSUED) {
            return Ok(None);
        }
        let is_suspect =
            !is_known && address.is_some_and(|from| self.failures.is_exceeded(client_network(from), now));
        let found = if is_suspect {
            Box::pin(self.lookup.find_gathered(id)).await?
        } else {
            // Boxed, so that the futures of requests stay small: a look-up is rare.
            Box::pin(self.lookup.find(id)).await?
        };
        let Some(key) = found else {
            let mut unissued = self.unissued();
            if unissued.len() >= MOST_KEYS {
                unissued.clear();
            }
            unissued.insert(hash, now);
            return Ok(None);
        };
        self.remember(id, key.clone(), now);
        Ok(Some(key))
    }

    /// Caches the answer to a look-up that started at `now`.
    fn remember(&self, id: i64, key: Arc<Key>, now: Instant) {
        let mut known = self.lock();
        if known.len() >= MOST_KEYS {
            known.retain(|_, entry| now - entry.answered_at < STALE);
            if known.len() >= MOST_KEYS {
                known.clear();
            }
        }
        // A later look-up has newer data.
        if known.get(&id).is_none_or(|known| known.answered_at < now) {
            let (asked_at, answered_at) = (now, now);
            known.insert(
                id,
                Entry {
                    asked_at,
                    answered_at,
                    key,
                },
            );
        }
    }

    /// Records the use of a key once a minute, in the background.
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

    fn unissued(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.unissued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}
