//! Sessions. A session ends at the logout, after 12 hours without use, or after 14 days.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use rand::{TryRngCore, rngs::OsRng};
use ring::digest::{SHA256, digest};
use sqlx::PgExecutor;

use super::{Account, Role};

/// The secret of a session. Only the browser stores it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// A random token.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        OsRng
            .try_fill_bytes(&mut bytes)
            .expect("the system has random numbers");
        Self(bytes)
    }

    /// The value for a cookie.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads the value of a cookie.
    pub fn of_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The stored hash. It does not allow using the session.
    pub fn hash(&self) -> TokenHash {
        TokenHash(digest(&SHA256, &self.0).as_ref().to_vec())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The stored hash of a token, which identifies a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(Vec<u8>);

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl TokenHash {
    /// Parses the text form.
    pub fn of_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok().map(Self)
    }
}

/// A session of an account.
#[derive(Clone, Debug)]
pub struct Session {
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// Address of the login.
    pub address: String,
    /// User agent of the login.
    pub user_agent: String,
    /// Time of the login.
    pub created_at: DateTime<Utc>,
    /// Time of the last use, to the minute.
    pub last_seen_at: DateTime<Utc>,
}

/// Starts a session of at most 14 days.
pub async fn begin(
    db: impl PgExecutor<'_>,
    account: i64,
    token: &Token,
    address: &str,
    user_agent: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into session (token_hash, account_id, address, user_agent, expires_at)
         values ($1, $2, $3, left($4, 300), now() + interval '14 days')",
        token.hash().0,
        account,
        address,
        user_agent
    )
    .execute(db)
    .await
    .map(drop)
}

/// The account of an active session, and whether its use is due to be recorded.
pub async fn account_of(db: impl PgExecutor<'_>, token: &TokenHash) -> sqlx::Result<Option<(Account, bool)>> {
    let found = sqlx::query!(
        r#"select a.id, a.username, a.email, a.role as "role: Role", a.stores, a.is_active, a.last_login_at, a.created_at,
               s.last_seen_at < now() - interval '1 minute' as "is_due!"
           from session s join account a on a.id = s.account_id
           where s.token_hash = $1 and s.expires_at > now() and s.last_seen_at > now() - interval '12 hours'
               and a.is_active"#,
        token.0
    );
    Ok(found.fetch_optional(db).await?.map(|found| {
        let account = Account {
            id: found.id,
            username: found.username,
            email: found.email,
            role: found.role,
            stores: found.stores,
            is_active: found.is_active,
            last_login_at: found.last_login_at,
            created_at: found.created_at,
        };
        (account, found.is_due)
    }))
}

/// Records the use of a session.
pub async fn touch(db: impl PgExecutor<'_>, token: &TokenHash) -> sqlx::Result<()> {
    sqlx::query!(
        "update session set last_seen_at = now()
         where token_hash = $1 and last_seen_at < now() - interval '1 minute'",
        token.0
    )
    .execute(db)
    .await
    .map(drop)
}

/// The active sessions of an account, last used first; at most a hundred.
pub async fn list(db: impl PgExecutor<'_>, account: i64) -> sqlx::Result<Vec<Session>> {
    let found = sqlx::query!(
        "select token_hash, address, user_agent, created_at, last_seen_at from session
         where account_id = $1 and expires_at > now() and last_seen_at > now() - interval '12 hours'
         order by last_seen_at desc, created_at desc limit 100",
        account
    );
    let found = found.fetch_all(db).await?.into_iter();
    Ok(found
        .map(|found| Session {
            token_hash: TokenHash(found.token_hash),
            address: found.address,
            user_agent: found.user_agent,
            created_at: found.created_at,
            last_seen_at: found.last_seen_at,
        })
        .collect())
}

/// Ends a session of any account.
pub async fn end(db: impl PgExecutor<'_>, token: &TokenHash) -> sqlx::Result<()> {
    sqlx::query!("delete from session where token_hash = $1", token.0)
        .execute(db)
        .await
        .map(drop)
}

/// Ends a session of an account. Returns whether it existed.
pub async fn end_of(db: impl PgExecutor<'_>, account: i64, token: &TokenHash) -> sqlx::Result<bool> {
    let ended = sqlx::query!(
        "delete from session where token_hash = $1 and account_id = $2",
        token.0,
        account
    );
    Ok(ended.execute(db).await?.rows_affected() > 0)
}

/// Ends the sessions of an account, except `kept`.
pub async fn end_all(db: impl PgExecutor<'_>, account: i64, kept: Option<&TokenHash>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from session where account_id = $1 and token_hash is distinct from $2",
        account,
        kept.map(|kept| kept.0.as_slice())
    )
    .execute(db)
    .await
    .map(drop)
}

/// Deletes expired sessions.
pub async fn delete_expired(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from session where token_hash in (
             select token_hash from session where expires_at < now() limit 1000 for update skip locked)"
    )
    .execute(db)
    .await
    .map(drop)
}
