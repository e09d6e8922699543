//! Logging in and out, and what is written down of it.
//!
//! Whether an account does not exist, is not active, or has another password: the answer is the same, and takes as long.

use std::{net::IpAddr, time::Duration};

use secrecy::SecretString;
use sqlx::PgPool;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    Account, Failures, HashError, PasswordHash, ThrottleCache, Token, TokenHash, account,
    attempt::{self, Attempt, Throttle},
    login_audit::LoginAudit,
    password::{self, Queue},
    register::NOTHING,
    session,
};
use crate::{
    audit::{self, Actor, AuditContext},
    db,
    telemetry::LineLimit,
};
use redis_rate_limit::client_key;

/// What somebody types to log in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name of an account.
    pub username: String,
    /// Its password.
    pub password: SecretString,
}

impl Credentials {
    /// PostgreSQL has no texts with a zero in them.
    fn username(&self) -> String {
        self.username.replace('\0', "\u{fffd}")
    }

    /// What attempts are counted under.
    fn counted(&self) -> String {
        self.username().chars().take(150).collect()
    }
}

/// Where a login comes from.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request, by `X-Request-Id`.
    pub request_id: Option<String>,
    /// What the browser calls itself.
    pub user_agent: String,
    /// The session that the browser has had until now.
    pub token: Option<TokenHash>,
}

impl Visit {
    /// Under whose name something is written down that this visitor does.
    #[must_use]
    pub fn audit_context(&self, actor: Actor) -> AuditContext {
        AuditContext {
            actor,
            address: self.address,
            request_id: self.request_id.clone(),
        }
    }

    /// The address as a text.
    #[must_use]
    pub fn from(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        address.unwrap_or_else(|| attempt::UNKNOWN.to_owned())
    }

    /// What its attempts are counted under: whoever has an IPv6 network has all its addresses.
    fn key(&self) -> String {
        self.address.map_or_else(|| self.from(), client_key)
    }
}

/// What came of an attempt to log in.
#[derive(Debug)]
pub enum Login {
    /// There is a session.
    Done(Token),
    /// Username or password are wrong; which of them is not told.
    Wrong,
    /// Too many attempts have failed; the next may follow in so many seconds.
    TooOften(i64),
}

/// Whether somebody knows a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// They do.
    Right,
    /// They do not.
    Wrong,
    /// Too many attempts have failed; the next may follow in so many seconds.
    TooOften(i64),
}

/// What a password was found to be; the account, where the username is that of one.
enum Judged {
    Right(i64, PasswordHash),
    Wrong(Option<i64>),
    TooOften(i64),
}

/// An attempt that was counted, with the account that it names.
struct Counted {
    queue: Queue,
    account: Option<(i64, PasswordHash)>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The password could not be looked at.
    #[error(transparent)]
    Password(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The door of the console.
#[derive(Debug)]
pub struct Logins {
    db: PgPool,
    throttled: ThrottleCache,
    /// Attempts that are counted at a time: each needs a pooled connection, on which it may wait for others of its kind.
    counting: Semaphore,
    refused: Failures,
    audit: LoginAudit,
}

/// Log lines about failed and refused logins, a minute and address.
static FAILURES: LineLimit = LineLimit::new(10);

impl Logins {
    /// The door of a console whose accounts are in this database.
    #[must_use]
    pub fn new(db: PgPool) -> Self {
        let connections = usize::try_from(db.options().get_max_connections()).unwrap_or(1);
        Self {
            audit: LoginAudit::new(db.clone()),
            db,
            throttled: ThrottleCache::default(),
            counting: Semaphore::new((connections / 4).max(1)),
            refused: Failures::new(1, Duration::from_mins(1)),
        }
    }

    /// The seconds for which an address has to wait, as far as this process knows: asked before anything of a login is read.
    #[must_use]
    pub fn address_wait(&self, visit: &Visit) -> Option<i64> {
        self.throttled.address_wait(&visit.key(), Instant::now())
    }

    /// Begins a session for whoever knows the password, and ends the one that the browser has had.
    pub async fn log_in(&self, credentials: &Credentials, visit: &Visit) -> Result<Login, LoginError> {
        match self.judge(credentials, visit, None).await? {
            Judged::TooOften(seconds) => return Ok(Login::TooOften(seconds)),
            Judged::Right(id, hash) => {
                if let Some(token) = self.let_in(id, &hash, credentials, visit).await? {
                    return Ok(Login::Done(token));
                }
                // It is not active, which nobody is told.
                self.note_failure(Some(id), credentials, visit).await?;
            }
            Judged::Wrong(id) => self.note_failure(id, credentials, visit).await?,
        }
        Ok(Login::Wrong)
    }

    /// Makes sure that whoever is logged in knows the password of the account, and is not just at its owner's desk.
    pub async fn prove(
        &self,
        account: &Account,
        password: SecretString,
        visit: &Visit,
    ) -> Result<Proof, LoginError> {
        let credentials = Credentials {
            username: account.username.clone(),
            password,
        };
        Ok(match self.judge(&credentials, visit, Some(Queue::Known)).await? {
            Judged::TooOften(seconds) => Proof::TooOften(seconds),
            Judged::Right(id, _) if id == account.id => {
                attempt::forget(&self.db, &credentials.counted(), &visit.key()).await?;
                self.throttled.forget(&credentials.counted(), &visit.key());
                Proof::Right
            }
            Judged::Right(..) | Judged::Wrong(_) => {
                self.note_failure(Some(account.id), &credentials, visit).await?;
                Proof::Wrong
            }
        })
    }

    /// Compares a password. That is counted before it is done. It waits in the queue that is given, or in that of its address.
    async fn judge(
        &self,
        credentials: &Credentials,
        visit: &Visit,
        queue: Option<Queue>,
    ) -> Result<Judged, LoginError> {
        let counted = match self.count(credentials, visit).await? {
            Ok(counted) => counted,
            Err(seconds) => return Ok(Judged::TooOften(seconds)),
        };
        let queue = queue.unwrap_or(counted.queue);
        let hash = counted.account.as_ref().map(|(_, hash)| hash.clone());
        let is_right = match password::is_password(&credentials.password, hash, queue).await {
            Ok(is_right) => is_right,
            Err(error) => {
                // Strangers who fill their queue are throttled for it.
                if queue == Queue::Known {
                    attempt::take_back(&self.db, &credentials.counted(), &visit.key()).await?;
                }
                return Err(error.into());
            }
        };
        Ok(match counted.account {
            Some((id, hash)) if is_right => Judged::Right(id, hash),
            account => Judged::Wrong(account.map(|(id, _)| id)),
        })
    }

    /// Ends a session.
    pub async fn log_out(&self, account: &Account, visit: &Visit) -> sqlx::Result<()> {
        let Some(token) = &visit.token else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        session::end(&mut *tx, token).await?;
        let audit_context = visit.audit_context(account.actor());
        audit::record(
            &mut *tx,
            &audit_context,
            "logout.done",
            Some(account.subject()),
            NOTHING,
        )
        .await?;
        db::commit(tx).await
    }

    /// Counts an attempt, or gives the seconds until one may follow. Throttled ones are refused from memory; while others are
    /// counted, the rest wait without a connection.
    async fn count(&self, credentials: &Credentials, visit: &Visit) -> sqlx::Result<Result<Counted, i64>> {
        let (username, address) = (credentials.counted(), visit.key());
        let known_throttle = || self.throttled.wait(&username, &address, Instant::now());
        if let Some(seconds) = known_throttle() {
            return Ok(Err(seconds));
        }
        let permit = self.counting.acquire().await;
        if let Some(seconds) = known_throttle() {
            return Ok(Err(seconds));
        }
        let mut tx = self.db.begin().await?;
        let attempt = attempt::count(&mut tx, &username, &address).await?;
        let account = match attempt {
            Attempt::Counted { .. } => account::password_of(&mut *tx, &credentials.username()).await?,
            Attempt::KeyError(_) => None,
        };
        db::commit(tx).await?;
        let throttle: Throttle = match attempt {
            Attempt::Counted { is_known } => {
                let queue = if is_known { Queue::Known } else { Queue::Unknown };
                return Ok(Ok(Counted { queue, account }));
            }
            Attempt::KeyError(throttle) => throttle,
        };
        let seconds = throttle.seconds();
        self.throttled.keep(&username, &address, throttle, Instant::now());
        drop(permit);
        self.note_refusal(visit).await?;
        Ok(Err(seconds))
    }

    async fn let_in(
        &self,
        id: i64,
        hash: &PasswordHash,
        credentials: &Credentials,
        visit: &Visit,
    ) -> sqlx::Result<Option<Token>> {
        let mut tx = self.db.begin().await?;
        let Some(account) = account::note_login(&mut *tx, id, hash).await? else {
            return Ok(None);
        };
        if let Some(token) = &visit.token {
            session::end(&mut *tx, token).await?;
        }
        let token = Token::random();
        session::begin(&mut *tx, id, &token, &visit.from(), &visit.user_agent).await?;
        session::forget_ended(&mut *tx).await?;
        attempt::forget(&mut *tx, &credentials.counted(), &visit.key()).await?;
        let audit_context = visit.audit_context(account.actor());
        audit::record(
            &mut *tx,
            &audit_context,
            "login.done",
            Some(account.subject()),
            NOTHING,
        )
        .await?;
        db::commit(tx).await?;
        self.throttled.forget(&credentials.counted(), &visit.key());
        Ok(Some(token))
    }

    async fn note_failure(
        &self,
        account: Option<i64>,
        credentials: &Credentials,
        visit: &Visit,
    ) -> sqlx::Result<()> {
        // What no account is called may be a password that was typed into the wrong field.
        let username = account.map(|_| credentials.counted());
        if let Some(left_out) = FAILURES.admit(visit.address) {
            tracing::warn!(username, address = visit.from(), left_out, "a login failed");
        }
        attempt::forget_old(&self.db).await?;
        self.audit
            .record("login.failed", account, username.as_deref(), visit)
            .await
    }

    /// Notes that logins are refused, once a minute for each address.
    async fn note_refusal(&self, visit: &Visit) -> sqlx::Result<()> {
        let now = Instant::now();
        if let Some(address) = visit.address {
            if self.refused.must_wait(address, now).is_some() {
                return Ok(());
            }
            self.refused.count(address, now);
        }
        if let Some(left_out) = FAILURES.admit(visit.address) {
            tracing::warn!(
                address = visit.from(),
                left_out,
                "logins are refused: too many have failed"
            );
        }
        self.audit.record("login.throttled", None, None, visit).await
    }

    /// Writes to the audit log how many failed and refused logins it was spared in this hour; the hour's end does so by itself.
    pub async fn write_omitted(&self) -> sqlx::Result<()> {
        self.audit.write_count().await
    }
}
