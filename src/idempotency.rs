//! Requests that may be repeated: under a key of the client's, what was done is done once, and answered the same again.
//!
//! A key is kept in the transaction of what its request does. So there is an answer for it exactly if the request was done,
//! whatever became of the connection to the client, of this process, or of the database.

use sqlx::{PgConnection, PgExecutor};

use crate::db;

/// How long a transaction waits for another that is about to keep the same key.
pub const KEY_LOCK_TIMEOUT: &str = "2s";

/// What a request pledges to be done under: its key, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// The client's key: 1 to 255 visible ASCII characters.
    pub key: String,
    /// Tells requests apart.
    pub fingerprint: [u8; 16],
}

/// An answer to be kept.
#[derive(Debug)]
pub struct StoredResponse<'a> {
    /// What it is kept under.
    pub request: &'a KeyedRequest,
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// An answer that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The fingerprint of the request that it was given to.
    pub fingerprint: Vec<u8>,
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Why answers were not kept. The transaction cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another request has kept one of the keys since.
    #[error("the key has been used")]
    Taken,
    /// Another transaction that is under way uses one of the keys, and does not end.
    #[error("the key is in use")]
    InUse,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The answer that was kept under a key.
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

/// Those of the keys under which an answer was kept.
pub async fn known(db: impl PgExecutor<'_>, keys: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select key from idempotency_key where key = any($1)", keys)
        .fetch_all(db)
        .await
}

/// Keeps answers, as the last thing that a transaction does before its commit. If another transaction is about to keep one
/// of the keys, waits for its end: as long as `patience`, such as [`KEY_LOCK_TIMEOUT`], in the order of the keys, so that no two wait
/// for each other.
pub async fn store(
    tx: &mut PgConnection,
    answers: Vec<StoredResponse<'_>>,
    patience: &str,
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
        patience,
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

/// Forgets up to `limit` answers that were kept for a day. Returns how many there were.
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
