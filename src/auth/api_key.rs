//! API keys: `afk_<id>_<secret><crc>`. The text is shown once; the database has only an HMAC of it.

use chrono::{DateTime, Utc};
use rand::{CryptoRng, Rng, distr::Alphanumeric};
use ring::hmac;
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use super::{Scope, Scopes, Secret, Stores};
use crate::{
    audit::{self, AuditContext},
    timestamp::Timestamp,
};

const PREFIX: &str = "afk_";
/// Length of the secret in letters and digits: 190 bits.
const SECRET: usize = 32;
/// Length of the checksum in letters and digits.
const CHECKSUM: usize = 6;
/// Maximum length of a name.
pub const LONGEST_NAME: usize = 100;

/// Whether a name is valid: 1 to [`LONGEST_NAME`] characters without control characters.
pub fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// The input for a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Name, which must pass [`is_name`].
    pub name: String,
    /// Scopes.
    pub scopes: Scopes,
    /// Stores.
    pub stores: Stores,
    /// Expiry; none for a key without expiry.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key in the list, without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKey {
    /// Id, which is part of the text.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Stores; `None` means all.
    pub stores: Option<Vec<i64>>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Expiry.
    pub expires_at: Option<Timestamp>,
    /// Time of revocation.
    pub revoked_at: Option<Timestamp>,
    /// Time of the last use, to the minute.
    #[serde(skip)]
    pub last_used_at: Option<Timestamp>,
    /// Address of the last use.
    #[serde(skip)]
    pub last_used_from: Option<String>,
}

/// The status of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Valid.
    Good,
    /// Expired.
    Expired,
    /// Revoked.
    Revoked,
}

impl ApiKey {
    /// The status at `now`.
    pub fn state(&self, now: DateTime<Utc>) -> State {
        state(
            self.revoked_at.map(|at| at.0),
            self.expires_at.map(|at| at.0),
            now,
        )
    }
}

pub(super) fn state(
    revoked_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> State {
    if revoked_at.is_some() {
        State::Revoked
    } else if expires_at.is_some_and(|end| end <= now) {
        State::Expired
    } else {
        State::Good
    }
}

/// The key of the HMAC.
pub(super) fn signing_key(secret: &Secret) -> hmac::Key {
    secret.hmac("api key")
}

/// Selects keys for the list.
macro_rules! keys {
    ($sql:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query_as!(
            ApiKey,
            $sql + r#" id, name, scopes, stores, created_at as "created_at: Timestamp",
                expires_at as "expires_at: Timestamp", revoked_at as "revoked_at: Timestamp",
                last_used_at as "last_used_at: Timestamp", last_used_from"# $(+ $tail)?
            $(, $arg)*
        )
    };
}

/// Creates a key. Returns it with its text, which cannot be shown again.
pub async fn create(
    tx: &mut PgConnection,
    secret: &Secret,
    new: &NewKey,
    audit_context: &AuditContext,
) -> sqlx::Result<(ApiKey, String)> {
    let id = sqlx::query_scalar!(r#"select nextval(pg_get_serial_sequence('api_key', 'id')) as "id!""#)
        .fetch_one(&mut *tx)
        .await?;
    let text = write(id, &mut rand::rng());
    let mac = hmac::sign(&signing_key(secret), text.as_bytes());
    let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let stores = new.stores.as_sql_param();
    let key = keys!(
        "insert into api_key (id, name, mac, scopes, stores, expires_at) overriding system value
         values ($1, $2, $3, $4, $5, $6) returning",
        id,
        new.name,
        mac.as_ref(),
        &scopes,
        stores.as_deref(),
        new.expires_at
    )
    .fetch_one(&mut *tx)
    .await?;
    let subject = Some(format!("key:{id}"));
    audit::record(tx, audit_context, "key.created", subject, (None, Some(&key))).await?;
    Ok((key, text))
}

/// All keys: valid ones first, newest first.
pub async fn list(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<ApiKey>> {
    keys!(
        "select"
            + " from api_key order by revoked_at is not null or coalesce(expires_at <= now(), false), id desc"
    )
    .fetch_all(db)
    .await
}

/// Finds a key by id.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<ApiKey>> {
    keys!("select" + " from api_key where id = $1", id)
        .fetch_optional(db)
        .await
}

/// Revokes a key; `None` if it does not exist or is revoked already. All servers refuse it within five seconds.
pub async fn revoke(
    tx: &mut PgConnection,
    id: i64,
    audit_context: &AuditContext,
) -> sqlx::Result<Option<ApiKey>> {
    let Some(before) = get(&mut *tx, id).await? else {
        return Ok(None);
    };
    let after = keys!(
        "update api_key set revoked_at = now() where id = $1 and revoked_at is null returning",
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(after) = &after {
        let subject = Some(format!("key:{id}"));
        audit::record(
            tx,
            audit_context,
            "key.revoked",
            subject,
            (Some(&before), Some(after)),
        )
        .await?;
    }
    Ok(after)
}

/// The scopes of a column. Unknown names are ignored.
pub(super) fn scopes(column: &[String]) -> Scopes {
    column
        .iter()
        .filter_map(|scope| scope.parse::<Scope>().ok())
        .collect()
}

/// The text of a new key.
fn write(id: i64, rng: &mut impl CryptoRng) -> String {
    let secret: String = rng
        .sample_iter(Alphanumeric)
        .take(SECRET)
        .map(char::from)
        .collect();
    let body = format!("{PREFIX}{id}_{secret}");
    let checksum = checksum(&body);
    body + &checksum
}

/// The id in the text of a key; `None` if the format or checksum is wrong.
pub(super) fn read(text: &str) -> Option<i64> {
    let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM)?)?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
    let is_written_so = secret.len() == SECRET && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let id: i64 = id
        .parse()
        .ok()
        .filter(|_| id.bytes().all(|byte| byte.is_ascii_digit()))?;
    (is_written_so && checksum(body) == sum).then_some(id)
}

/// The CRC-32 of a text in letters and digits. It detects mistyped keys without the database.
fn checksum(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest % 62];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn api_key_text_contains_its_id_and_a_checksum() {
        let text = write(12, &mut StdRng::seed_from_u64(1));
        assert!(text.starts_with("afk_12_"), "{text}");
        assert_eq!(text.len(), "afk_12_".len() + SECRET + CHECKSUM);
        assert_eq!(read(&text), Some(12));
        let other = write(12, &mut StdRng::seed_from_u64(2));
        assert_ne!(text, other);
        for wrong in [
            "",
            "afk_",
            "afk_12_",
            &text[..text.len() - 1],
            &text.replace("afk_12", "afk_13"),
            &text.replace("afk_12", "afk_+12"),
            &text.replace("afk_", "key_"),
            &text.to_lowercase(),
            &format!("{text}ä"),
            "ääääääääääääää",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
