//! Attempts to log in. Each is counted before its password is looked at, so that many guesses at a time are as many as one
//! after another; one that succeeds counts no more.

use sqlx::{PgConnection, PgExecutor};

use redis_rate_limit::client_key;

/// Attempts in 15 minutes from an address, for a username from an address, and for a username from everywhere. The last does
/// not hold back an address from which somebody has logged in under that name lately: strangers could keep them out.
const OF_ADDRESS: i32 = 20;
const OF_BOTH: i32 = 5;
const OF_USERNAME: i32 = 50;

/// What is counted where the address of a client is not known.
pub const UNKNOWN: &str = "unknown";

/// Addresses from which an account is known to log in, at most: beyond it PostgreSQL is asked each time.
const MOST_KNOWN_ADDRESSES: i64 = 1000;

/// Whether a password may be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It may, and it was counted.
    Counted {
        /// Whether the account has logged in from this address lately.
        is_known: bool,
    },
    /// There were too many.
    KeyError(Throttle),
}

/// What holds back an attempt: the seconds until one more may follow, for each bound that was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// For the address.
    pub address: Option<i64>,
    /// For the username from the address.
    pub pair: Option<i64>,
    /// For the username from everywhere else than `known_addresses`.
    pub username: Option<i64>,
    /// From where the account has logged in lately, as attempts are counted; unknown where those are too many.
    pub known_addresses: Option<Vec<String>>,
}

impl Throttle {
    /// The seconds until one more attempt may follow.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.address
            .max(self.pair)
            .max(self.username)
            .unwrap_or_default()
            .max(1)
    }
}

/// Counts an attempt, unless there were too many. The caller commits before the password is looked at.
///
/// `address` is an IPv4 address or an IPv6 network, or what is said where there is none.
pub async fn count(connection: &mut PgConnection, username: &str, address: &str) -> sqlx::Result<Attempt> {
    // Whoever counts the same attempts waits, so that none is counted twice or missed. Always in this order.
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
        OF_ADDRESS,
        OF_BOTH,
        OF_USERNAME,
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
        return Ok(Attempt::KeyError(throttle));
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

/// From where the account of a username has logged in lately; `None` where those are too many.
async fn known_addresses(connection: &mut PgConnection, username: &str) -> sqlx::Result<Option<Vec<String>>> {
    let found = sqlx::query_scalar!(
        r#"select distinct l.address as "address!" from account a join audit_log l on l.subject = 'account:' || a.id
           where a.username = $1 and l.action = 'login.done' and l.at > now() - interval '30 days'
               and l.address is not null
           limit $2"#,
        username,
        MOST_KNOWN_ADDRESSES
    )
    .fetch_all(connection)
    .await?;
    let all_are_found = i64::try_from(found.len()).is_ok_and(|found| found < MOST_KNOWN_ADDRESSES);
    let keys = found
        .iter()
        .filter_map(|address| address.parse().ok())
        .map(client_key);
    Ok(all_are_found.then(|| keys.collect()))
}

/// Takes back the latest attempt: its password was not looked at after all.
pub async fn take_back(db: impl PgExecutor<'_>, username: &str, address: &str) -> sqlx::Result<()> {
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

/// Forgets the attempts of a username from an address: one has succeeded.
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

/// Forgets attempts that hold back nobody any more.
pub async fn forget_old(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from login_attempt where id in (
             select id from login_attempt where at < now() - interval '15 minutes' limit 1000 for update skip locked)"
    )
    .execute(db)
    .await
    .map(drop)
}
