//! Attempts to log in. Each is counted before its password is looked at, so that many guesses at a time are as many as one
//! after another; one that succeeds counts no more.

use sqlx::{PgConnection, PgExecutor};

/// Attempts in 15 minutes from an address, for a username from an address, and for a username from everywhere. The last does
/// not hold back an address from which somebody has logged in under that name lately: strangers could keep them out.
const OF_ADDRESS: i32 = 20;
const OF_BOTH: i32 = 5;
const OF_USERNAME: i32 = 50;

/// What is counted where the address of a client is not known.
pub const UNKNOWN: &str = "unknown";

/// Whether a password may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It may, and it was counted.
    Counted,
    /// There were too many. One more may follow in so many seconds.
    Refused(i64),
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
    let seconds = sqlx::query_scalar!(
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
               (select at from recent where address = $2 order by at desc offset $3 - 1 limit 1)
               union all
               (select at from recent where address = $2 and username = $1 order by at desc offset $4 - 1 limit 1)
               union all
               (select at from recent where username = $1 and not (select is_known from known)
                order by at desc offset $5 - 1 limit 1)
           )
           select ceil(extract(epoch from max(at) + interval '15 minutes' - clock_timestamp()))::bigint from free"#,
        username,
        address,
        OF_ADDRESS,
        OF_BOTH,
        OF_USERNAME,
        address != UNKNOWN
    )
    .fetch_one(&mut *connection)
    .await?;
    if let Some(seconds) = seconds {
        return Ok(Attempt::Refused(seconds.max(1)));
    }
    sqlx::query!(
        "insert into login_attempt (username, address, at) values ($1, $2, clock_timestamp())",
        username,
        address
    )
    .execute(connection)
    .await?;
    Ok(Attempt::Counted)
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
