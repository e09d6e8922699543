//! Logging in and out, and what is written down of it.
//!
//! Whether an account does not exist, is not active, or has another password: the answer is the same, and takes as long.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use secrecy::SecretString;
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{
    Account, Failures, HashError, PasswordHash, Token, TokenHash, account,
    attempt::{self, Attempt},
    password,
    register::NOTHING,
    session,
};
use crate::{
    audit::{self, Signature, Who},
    rate_limit::client_key,
};

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
    pub fn signature(&self, who: Who) -> Signature {
        Signature {
            who,
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
    refused: Failures,
    failed: Failures,
}

/// Failures that are written into the audit log in a minute, at most: nothing is ever deleted from there.
const WRITTEN_FAILURES: usize = 60;
/// Under this they are counted together, wherever they come from.
const TOGETHER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What the audit log has of an attempt that failed.
#[derive(Serialize)]
struct Typed<'a> {
    username: &'a str,
}

impl Logins {
    /// The door of a console whose accounts are in this database.
    #[must_use]
    pub fn new(db: PgPool) -> Self {
        Self {
            db,
            refused: Failures::new(1, Duration::from_mins(1)),
            failed: Failures::new(WRITTEN_FAILURES, Duration::from_mins(1)),
        }
    }

    /// Begins a session for whoever knows the password, and ends the one that the browser has had.
    pub async fn log_in(&self, credentials: &Credentials, visit: &Visit) -> Result<Login, LoginError> {
        match self.judge(credentials, visit).await? {
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
        Ok(match self.judge(&credentials, visit).await? {
            Judged::TooOften(seconds) => Proof::TooOften(seconds),
            Judged::Right(id, _) if id == account.id => {
                attempt::forget(&self.db, &credentials.counted(), &visit.key()).await?;
                Proof::Right
            }
            Judged::Right(..) | Judged::Wrong(_) => {
                self.note_failure(Some(account.id), &credentials, visit).await?;
                Proof::Wrong
            }
        })
    }

    /// Compares a password. That is counted before it is done.
    async fn judge(&self, credentials: &Credentials, visit: &Visit) -> Result<Judged, LoginError> {
        if let Attempt::Refused(seconds) = self.count(credentials, visit).await? {
            self.note_refusal(visit).await?;
            return Ok(Judged::TooOften(seconds));
        }
        let known = account::password_of(&self.db, &credentials.username()).await?;
        let hash = known.as_ref().map(|(_, hash)| hash.clone());
        let is_right = match password::is_password(&credentials.password, hash).await {
            Ok(is_right) => is_right,
            Err(error) => {
                attempt::take_back(&self.db, &credentials.counted(), &visit.key()).await?;
                return Err(error.into());
            }
        };
        Ok(match known {
            Some((id, hash)) if is_right => Judged::Right(id, hash),
            known => Judged::Wrong(known.map(|(id, _)| id)),
        })
    }

    /// Ends a session.
    pub async fn log_out(&self, account: &Account, visit: &Visit) -> sqlx::Result<()> {
        let Some(token) = &visit.token else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        session::end(&mut *tx, token).await?;
        let signature = visit.signature(account.who());
        audit::record(
            &mut *tx,
            &signature,
            "logout.done",
            Some(account.subject()),
            NOTHING,
        )
        .await?;
        tx.commit().await
    }

    async fn count(&self, credentials: &Credentials, visit: &Visit) -> sqlx::Result<Attempt> {
        let mut tx = self.db.begin().await?;
        let attempt = attempt::count(&mut tx, &credentials.counted(), &visit.key()).await?;
        tx.commit().await?;
        Ok(attempt)
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
        let signature = visit.signature(account.who());
        audit::record(
            &mut *tx,
            &signature,
            "login.done",
            Some(account.subject()),
            NOTHING,
        )
        .await?;
        tx.commit().await?;
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
        tracing::warn!(username, address = visit.from(), "a login failed");
        attempt::forget_old(&self.db).await?;
        let now = Instant::now();
        if self.failed.must_wait(TOGETHER, now).is_some() {
            return Ok(());
        }
        self.failed.count(TOGETHER, now);
        self.record("login.failed", account, username.as_deref(), visit)
            .await
    }

    /// Once a minute for each address: whoever goes on and on would fill the log, from which nothing is ever deleted.
    async fn note_refusal(&self, visit: &Visit) -> sqlx::Result<()> {
        let now = Instant::now();
        if let Some(address) = visit.address {
            if self.refused.must_wait(address, now).is_some() {
                return Ok(());
            }
            self.refused.count(address, now);
        }
        tracing::warn!(address = visit.from(), "logins are refused: too many have failed");
        self.record("login.throttled", None, None, visit).await
    }

    async fn record(
        &self,
        action: &'static str,
        account: Option<i64>,
        username: Option<&str>,
        visit: &Visit,
    ) -> sqlx::Result<()> {
        let subject = account.map(|id| format!("account:{id}"));
        let signature = visit.signature(Who::Anyone);
        let typed = username.map(|username| Typed { username });
        audit::record(&self.db, &signature, action, subject, (None, typed.as_ref())).await
    }
}
