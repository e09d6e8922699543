//! The table of idempotency keys and stored responses. `http/idempotency.rs` runs requests under their keys.
//!
//! The response is stored in the transaction of the request's effect. So a stored response exists exactly if the request took
//! effect, whether or not the client, this process or the database failed meanwhile.

use sqlx::{PgConnection, PgExecutor};

use crate::{audit::Actor, db};

/// How long a transaction waits for another that stores the same key.
pub const KEY_LOCK_TIMEOUT: &str = "2s";

/// The key of a request, with a fingerprint of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// The client's key: 1 to 255 visible ASCII characters.
    pub key: String,
    /// Hash of method, path and body.
    pub fingerprint: [u8; 16],
}

/// The longest key of a client.
pub const LONGEST_KEY: usize = 255;

/// Whether a client may use this key: 1 to 255 visible ASCII characters.
pub fn is_valid(key: &[u8]) -> bool {
    (1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
}

/// A client's key as it is stored. Keys of different actors never match, because a client's key has no space.
pub fn scoped_key(actor: &Actor, key: String) -> String {
    match actor.label() {
        Some(actor) => format!("{actor} {key}"),
        None => key,
    }
}

/// A response to store.
#[derive(Debug)]
pub struct StoredResponse<'a> {
    /// The request that it answers.
    pub request: &'a KeyedRequest,
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The fingerprint of its request.
    pub fingerprint: Vec<u8>,
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Why responses were not stored. The transaction must be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another request has stored one of the keys.
    #[error("the key has been used")]
    Taken,
    /// A running transaction holds one of the keys.
    #[error("the key is in use")]
    InUse,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The stored response of a key.
pub async fn find(db: impl PgExecutor<'_>, key: &str) -> sqlx::Result<Option<Answer>> {
    let row = sqlx::query!(
        "select fingerprint, status, body from idempotency_key where key = $1",
        key
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Answer {
        fingerprint: row.fingerprint,
        status: row.status.unsigned_abs(),
        body: row.body,
    }))
}

/// The keys among these that have a stored response.
pub async fn known(db: impl PgExecutor<'_>, keys: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select key from idempotency_key where key = any($1)", keys)
        .fetch_all(db)
        .await
}

/// Stores responses; the last statement of a transaction. If another transaction is storing one of the keys, waits for it, at
/// most for `timeout`, such as [`KEY_LOCK_TIMEOUT`]. Inserts in the sequence of the keys, so that two transactions do not deadlock.
pub async fn store(
    tx: &mut PgConnection,
    answers: Vec<StoredResponse<'_>>,
    timeout: &str,
) -> Result<(), StoreError> {
    let count = answers.len() as u64;
    let (mut keys, mut fingerprints, mut statuses, mut bodies) = (vec![], vec![], vec![], vec![]);
    for StoredResponse {
        request,
        status,
        body,
    } in answers
    {
        keys.push(request.key.clone());
        fingerprints.push(request.fingerprint.to_vec());
        statuses.push(i16::try_from(status).unwrap_or(i16::MAX));
        bodies.push(body);
    }
    let kept = sqlx::query!(
        "insert into idempotency_key (key, fingerprint, status, body)
         select key, fingerprint, status, body
         from unnest($1::text[], $2::bytea[], $3::smallint[], $4::text[]) as kept (key, fingerprint, status, body)
         where (select set_config('lock_timeout', $5, true)) = $5
         order by key collate \"C\"
         on conflict do nothing",
        &keys,
        &fingerprints,
        &statuses,
        &bodies,
        timeout,
    )
    .execute(tx)
    .await;
    match kept {
        Ok(kept) if kept.rows_affected() == count => Ok(()),
        Ok(_) => Err(StoreError::Taken),
        Err(error) if db::is_lock_timeout(&error) => Err(StoreError::InUse),
        Err(error) => Err(error.into()),
    }
}

/// Deletes up to `limit` responses older than a day. Returns their number.
pub async fn purge(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from idempotency_key where key = any(array(
             select key from idempotency_key where created_at < now() - interval '24 hours' limit $1
         ))",
        limit
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}
