//! The throttle of logins. Each attempt is counted before its password is checked, so that parallel guesses count like
//! sequential ones. A successful login deletes its attempts.

use sqlx::{PgConnection, PgExecutor};

use redis_rate_limit::client_key;

/// Attempts in 15 minutes: from an address, for a username from an address, and for a username from all addresses. The last
/// limit spares addresses from which the account logged in recently. Otherwise strangers could lock its owner out.
const ADDRESS_LIMIT: i32 = 20;
const PAIR_LIMIT: i32 = 5;
const USERNAME_LIMIT: i32 = 50;

/// The key of clients whose address is unknown.
pub const UNKNOWN: &str = "unknown";

/// Maximum number of known addresses of an account. With more, PostgreSQL decides each attempt.
const MAX_KNOWN_ADDRESSES: i64 = 1000;

/// Whether a password may be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It may. The attempt was counted.
    Counted {
        /// Whether the account logged in from this address recently.
        is_known: bool,
    },
    /// There were too many attempts.
    Throttled(Throttle),
}

/// The limits that an attempt exceeds, with the seconds until the next attempt is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// The limit of the address.
    pub address: Option<i64>,
    /// The limit of the username from the address.
    pub pair: Option<i64>,
    /// The limit of the username from other addresses than `known_addresses`.
    pub username: Option<i64>,
    /// Keys of the addresses from which the account logged in recently. None if there are too many.
    pub known_addresses: Option<Vec<String>>,
}

impl Throttle {
    /// The seconds until the next attempt is allowed.
    pub fn seconds(&self) -> i64 {
        self.address
            .max(self.pair)
            .max(self.username)
            .unwrap_or_default()
            .max(1)
    }
}

/// Counts an attempt unless a limit is exceeded. The caller commits before the password is checked.
///
/// `address` is an IPv4 address, an IPv6 network, or [`UNKNOWN`].
pub async fn count(connection: &mut PgConnection, username: &str, address: &str) -> sqlx::Result<Attempt> {
    // Locks serialise attempts with the same key, so that each is counted once. The order of locks is fixed.
    for (kind, key) in [("address", address), ("username", username)] {
        sqlx::query!(
            "select pg_advisory_xact_lock(hashtext($1), hashtext($2))",
            format!("afforo login {kind}"),
            key
        )
        .execute(&mut *connection)
        .await?;
    }
    let found = sqlx::query!(
        r#"with recent as materialized (
               select username, address, at from login_attempt
               where address = $2 and at > clock_timestamp() - interval '15 minutes'
               union all
               select username, address, at from login_attempt
               where username = $1 and address <> $2 and at > clock_timestamp() - interval '15 minutes'
           ), known as (
               select exists (
                   select from account a join audit_log l on l.subject = 'account:' || a.id
                   where a.username = $1 and l.action = 'login.done' and l.at > now() - interval '30 days'
                       and case when $6 then l.address::inet <<= $2::inet end
               ) as is_known
           ), free as (
               select (select at from recent where address = $2 order by at desc offset $3 - 1 limit 1) as address,
                   (select at from recent where address = $2 and username = $1
                    order by at desc offset $4 - 1 limit 1) as pair,
                   (select at from recent where username = $1 and not is_known
                    order by at desc offset $5 - 1 limit 1) as username,
                   is_known
               from known
           )
           select is_known as "is_known!",
               ceil(extract(epoch from address + interval '15 minutes' - clock_timestamp()))::bigint as address,
               ceil(extract(epoch from pair + interval '15 minutes' - clock_timestamp()))::bigint as pair,
               ceil(extract(epoch from username + interval '15 minutes' - clock_timestamp()))::bigint as username
           from free"#,
        username,
        address,
        ADDRESS_LIMIT,
        PAIR_LIMIT,
        USERNAME_LIMIT,
        address != UNKNOWN
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut throttle = Throttle {
        address: found.address,
        pair: found.pair,
        username: found.username,
        known_addresses: None,
    };
    if throttle != Throttle::default() {
        if throttle.username.is_some() {
            throttle.known_addresses = known_addresses(&mut *connection, username).await?;
        }
        return Ok(Attempt::Throttled(throttle));
    }
    sqlx::query!(
        "insert into login_attempt (username, address, at) values ($1, $2, clock_timestamp())",
        username,
        address
    )
    .execute(connection)
    .await?;
    Ok(Attempt::Counted {
        is_known: found.is_known,
    })
}

/// Keys of the addresses from which an account logged in recently; `None` if there are too many.
async fn known_addresses(connection: &mut PgConnection, username: &str) -> sqlx::Result<Option<Vec<String>>> {
    let found = sqlx::query_scalar!(
        r#"select distinct l.address as "address!" from account a join audit_log l on l.subject = 'account:' || a.id
           where a.username = $1 and l.action = 'login.done' and l.at > now() - interval '30 days'
               and l.address is not null
           limit $2"#,
        username,
        MAX_KNOWN_ADDRESSES
    )
    .fetch_all(connection)
    .await?;
    let all_are_found = i64::try_from(found.len()).is_ok_and(|found| found < MAX_KNOWN_ADDRESSES);
    let keys = found
        .iter()
        .filter_map(|address| address.parse().ok())
        .map(client_key);
    Ok(all_are_found.then(|| keys.collect()))
}

/// Deletes the latest attempt, because its password was not checked.
pub async fn uncount(db: impl PgExecutor<'_>, username: &str, address: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from login_attempt
         where id = (select max(id) from login_attempt where username = $1 and address = $2)",
        username,
        address
    )
    .execute(db)
    .await
    .map(drop)
}

/// Deletes the attempts of a username from an address after a successful login.
pub async fn forget(db: impl PgExecutor<'_>, username: &str, address: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from login_attempt where username = $1 and address = $2",
        username,
        address
    )
    .execute(db)
    .await
    .map(drop)
}

/// Deletes attempts that are older than the window.
pub async fn delete_expired(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from login_attempt where id in (
             select id from login_attempt where at < now() - interval '15 minutes' limit 1000 for update skip locked)"
    )
    .execute(db)
    .await
    .map(drop)
}
