//! Login and logout, with audit entries.
//!
//! A login to an unknown or inactive account, or with a wrong password, gets the same answer after the same time.

use std::{net::IpAddr, time::Duration};

use secrecy::SecretString;
use sqlx::PgPool;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    Account, ClientInfo, HashError, PasswordHash, ThrottleCache, Token, account,
    accounts::{NOTHING, record},
    login_audit::LoginAudit,
    login_throttle::{self, Attempt, Throttle},
    password::{self, Queue},
    session,
};
use crate::{
    db,
    keyed_limiter::{KeyedLimiter, MAX_KEYS},
    telemetry::LineLimit,
};
use redis_rate_limit::client_network;

/// The input of a login.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name of an account.
    pub username: String,
    /// Its password.
    pub password: SecretString,
}

impl Credentials {
    /// PostgreSQL has no NUL characters in text.
    fn username(&self) -> String {
        self.username.replace('\0', "\u{fffd}")
    }

    /// The key of the throttle.
    fn counted(&self) -> String {
        self.username().chars().take(150).collect()
    }
}

/// The outcome of a login.
#[derive(Debug)]
pub enum Login {
    /// A session was started.
    Done(Token),
    /// The username or the password is wrong.
    Wrong,
    /// Too many attempts failed. The next is allowed after this number of seconds.
    TooOften(i64),
}

/// Whether a password is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// Too many attempts failed. The next is allowed after this number of seconds.
    TooOften(i64),
}

/// The outcome of a password check, with the account if the username exists.
enum Judged {
    Right(i64, PasswordHash),
    Wrong(Option<i64>),
    TooOften(i64),
}

/// A counted attempt, with the account of its username.
struct Counted {
    queue: Queue,
    account: Option<(i64, PasswordHash)>,
}

/// Why a login could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The password could not be checked.
    #[error(transparent)]
    Password(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Login and logout of the console.
#[derive(Debug)]
pub struct LoginService {
    db: PgPool,
    throttled: ThrottleCache,
    /// Attempts that are counted at the same time. Each holds a pooled connection while it waits for its lock.
    counting: Semaphore,
    /// Refusals that are recorded, by address.
    refused: KeyedLimiter<IpAddr>,
    audit: LoginAudit,
}

/// Log lines about failed and refused logins, per minute and address.
static FAILURES: LineLimit = LineLimit::new(10);

impl LoginService {
    /// A service on the accounts of this database.
    pub fn new(db: PgPool) -> Self {
        let connections = usize::try_from(db.options().get_max_connections()).unwrap_or(1);
        Self {
            audit: LoginAudit::new(db.clone()),
            db,
            throttled: ThrottleCache::default(),
            counting: Semaphore::new((connections / 4).max(1)),
            refused: KeyedLimiter::new(1, Duration::from_mins(1), MAX_KEYS),
        }
    }

    /// The seconds that an address must wait, as far as this process knows. Checked before a login is read.
    pub fn address_wait(&self, client: &ClientInfo) -> Option<i64> {
        self.throttled.address_wait(&client.key(), Instant::now())
    }

    /// Checks the password, starts a session, and ends the previous session of the browser.
    pub async fn log_in(&self, credentials: &Credentials, client: &ClientInfo) -> Result<Login, LoginError> {
        match self.verify(credentials, client, None).await? {
            Judged::TooOften(seconds) => return Ok(Login::TooOften(seconds)),
            Judged::Right(id, hash) => {
                if let Some(token) = self.start_session(id, &hash, credentials, client).await? {
                    return Ok(Login::Done(token));
                }
                // The account is inactive. The client must not learn that.
                self.note_failure(Some(id), credentials, client).await?;
            }
            Judged::Wrong(id) => self.note_failure(id, credentials, client).await?,
        }
        Ok(Login::Wrong)
    }

    /// Checks the password of a logged-in operator again, before sensitive changes.
    pub async fn prove(
        &self,
        account: &Account,
        password: SecretString,
        client: &ClientInfo,
    ) -> Result<Proof, LoginError> {
        let credentials = Credentials {
            username: account.username.clone(),
            password,
        };
        Ok(
            match self.verify(&credentials, client, Some(Queue::Known)).await? {
                Judged::TooOften(seconds) => Proof::TooOften(seconds),
                Judged::Right(id, _) if id == account.id => {
                    login_throttle::forget(&self.db, &credentials.counted(), &client.key()).await?;
                    self.throttled.remove(&credentials.counted(), &client.key());
                    Proof::Right
                }
                Judged::Right(..) | Judged::Wrong(_) => {
                    self.note_failure(Some(account.id), &credentials, client).await?;
                    Proof::Wrong
                }
            },
        )
    }

    /// Counts the attempt, then checks the password. It waits in `queue`, or else in the queue of its address.
    async fn verify(
        &self,
        credentials: &Credentials,
        client: &ClientInfo,
        queue: Option<Queue>,
    ) -> Result<Judged, LoginError> {
        let counted = match self.count(credentials, client).await? {
            Ok(counted) => counted,
            Err(seconds) => return Ok(Judged::TooOften(seconds)),
        };
        let queue = queue.unwrap_or(counted.queue);
        let hash = counted.account.as_ref().map(|(_, hash)| hash.clone());
        let is_right = match password::is_password(&credentials.password, hash, queue).await {
            Ok(is_right) => is_right,
            Err(error) => {
                // An attempt that found the queue of unknown clients full still counts.
                if queue == Queue::Known {
                    login_throttle::uncount(&self.db, &credentials.counted(), &client.key()).await?;
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
    pub async fn log_out(&self, account: &Account, client: &ClientInfo) -> sqlx::Result<()> {
        let Some(token) = &client.token else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        session::end(&mut *tx, token).await?;
        let audit_context = client.audit_context(account.actor());
        record(&mut *tx, &audit_context, "logout.done", account, NOTHING).await?;
        db::commit(tx).await
    }

    /// Counts an attempt, or returns the seconds to wait. Known throttles are answered from memory. Attempts wait for the
    /// permit without a connection.
    async fn count(
        &self,
        credentials: &Credentials,
        client: &ClientInfo,
    ) -> sqlx::Result<Result<Counted, i64>> {
        let (username, address) = (credentials.counted(), client.key());
        let known_throttle = || self.throttled.wait(&username, &address, Instant::now());
        if let Some(seconds) = known_throttle() {
            return Ok(Err(seconds));
        }
        let permit = self.counting.acquire().await;
        if let Some(seconds) = known_throttle() {
            return Ok(Err(seconds));
        }
        let mut tx = self.db.begin().await?;
        let attempt = login_throttle::count(&mut tx, &username, &address).await?;
        let account = match attempt {
            Attempt::Counted { .. } => account::password_of(&mut *tx, &credentials.username()).await?,
            Attempt::Throttled(_) => None,
        };
        db::commit(tx).await?;
        let throttle: Throttle = match attempt {
            Attempt::Counted { is_known } => {
                let queue = if is_known { Queue::Known } else { Queue::Unknown };
                return Ok(Ok(Counted { queue, account }));
            }
            Attempt::Throttled(throttle) => throttle,
        };
        let seconds = throttle.seconds();
        self.throttled
            .store(&username, &address, throttle, Instant::now());
        drop(permit);
        self.note_refusal(client).await?;
        Ok(Err(seconds))
    }

    async fn start_session(
        &self,
        id: i64,
        hash: &PasswordHash,
        credentials: &Credentials,
        client: &ClientInfo,
    ) -> sqlx::Result<Option<Token>> {
        let mut tx = self.db.begin().await?;
        let Some(account) = account::note_login(&mut *tx, id, hash).await? else {
            return Ok(None);
        };
        if let Some(token) = &client.token {
            session::end(&mut *tx, token).await?;
        }
        let token = Token::random();
        session::begin(&mut *tx, id, &token, &client.from(), &client.user_agent).await?;
        session::delete_expired(&mut *tx).await?;
        login_throttle::forget(&mut *tx, &credentials.counted(), &client.key()).await?;
        let audit_context = client.audit_context(account.actor());
        record(&mut *tx, &audit_context, "login.done", &account, NOTHING).await?;
        db::commit(tx).await?;
        self.throttled.remove(&credentials.counted(), &client.key());
        Ok(Some(token))
    }

    async fn note_failure(
        &self,
        account: Option<i64>,
        credentials: &Credentials,
        client: &ClientInfo,
    ) -> sqlx::Result<()> {
        // An unknown username may be a password in the wrong field, so it is not logged.
        let username = account.map(|_| credentials.counted());
        if let Some(left_out) = FAILURES.admit(client.address) {
            tracing::warn!(username, address = client.from(), left_out, "a login failed");
        }
        login_throttle::delete_expired(&self.db).await?;
        self.audit
            .record("login.failed", account, username.as_deref(), client)
            .await
    }

    /// Logs refused logins once a minute for each address.
    async fn note_refusal(&self, client: &ClientInfo) -> sqlx::Result<()> {
        let address = client.address.map(client_network);
        let now = Instant::now().into_std();
        if address.is_some_and(|address| self.refused.admit(Some(address), now).is_err()) {
            return Ok(());
        }
        if let Some(left_out) = FAILURES.admit(client.address) {
            tracing::warn!(
                address = client.from(),
                left_out,
                "logins are refused: too many have failed"
            );
        }
        self.audit.record("login.throttled", None, None, client).await
    }

    /// Writes the number of omitted entries of this hour to the audit log now. Otherwise the end of the hour does it.
    pub async fn write_omitted(&self) -> sqlx::Result<()> {
        self.audit.write_count().await
    }
}
