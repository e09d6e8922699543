//! `afforo apikey`: API keys for programs.

use std::{fmt::Write as _, str::FromStr, time::SystemTime};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use clap::{Args, Subcommand};
use sqlx::{Connection, PgConnection};

use super::{Failure, Settings, print, secret_key};
use crate::{
    audit::AuditContext,
    auth::{
        Scope, Secret, Stores,
        api_key::{self, ApiKey, LONGEST_NAME, NewKey, State},
    },
    db, store,
};

/// Arguments of `afforo apikey`.
#[derive(Args, Debug)]
pub(super) struct ApiKeys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key, and print it once
    Create {
        /// Name of its user, such as `Till 7`
        #[arg(long, value_parser = name)]
        name: String,
        /// Scopes, comma-separated: catalog:read, catalog:write, inventory:read, inventory:write, orders:read,
        /// orders:write, orders:manage, orders:price, stats, admin
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// Ids of its stores, comma-separated [default: all stores]
        #[arg(long, value_delimiter = ',')]
        stores: Option<Vec<i64>>,
        /// Last day it is valid, such as 2027-01-31, or a number of days, such as 90d [default: no expiry]
        #[arg(long)]
        expires: Option<Expiry>,
    },
    /// List the keys, without their secrets
    List,
    /// Revoke a key: every server refuses it within five seconds
    Revoke {
        /// Id of the key
        id: i64,
    },
}

impl ApiKeys {
    pub async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let mut connection =
            PgConnection::connect_with(&db::connect_options(settings.database.url()?).await?).await?;
        let now = SystemTime::now().into();
        let done = match self.command {
            Command::Create {
                name,
                scopes,
                stores,
                expires,
            } => {
                let new = NewKey {
                    name,
                    scopes: scopes.into_iter().collect(),
                    stores: Stores::of_column(stores),
                    expires_at: expires.map(|expiry| expiry.after(now)),
                };
                if new.expires_at.is_some_and(|end| end <= now) {
                    Err("--expires is in the past: such a key would never be valid".into())
                } else {
                    create(&mut connection, settings, &new).await
                }
            }
            Command::List => list(&mut connection).await,
            Command::Revoke { id } => revoke(&mut connection, id).await,
        };
        connection.close().await?;
        done
    }
}

async fn create(connection: &mut PgConnection, settings: &Settings, new: &NewKey) -> Result<(), Failure> {
    // With a random secret key no server would accept the new API key.
    let secret = settings.http.secret_key.clone();
    let secret = secret
        .filter(|_| !settings.http.has_no_secret_key())
        .ok_or("SECRET_KEY is not set: keys are signed with it, and servers have to have the same one")?;
    secret_key::check(settings).await?;
    let mut tx = connection.begin().await?;
    if let Stores::Only(stores) = &new.stores {
        for store in stores.iter() {
            if !store::exists(&mut *tx, *store).await? {
                return Err(format!("there is no store {store}").into());
            }
        }
    }
    let (key, text) = api_key::create(&mut tx, &Secret::new(secret), new, &AuditContext::system()).await?;
    tx.commit().await?;
    eprintln!(
        "Key {} for {}. Keep it: it is shown only once.",
        key.id,
        key.name.escape_debug()
    );
    print(format!("{text}\n").as_bytes())
}

async fn list(connection: &mut PgConnection) -> Result<(), Failure> {
    let keys = api_key::list(connection).await?;
    let now = SystemTime::now().into();
    let mut text = String::new();
    for key in &keys {
        writeln!(text, "{}", line(key, now))?;
    }
    if keys.is_empty() {
        writeln!(text, "no keys")?;
    }
    print(text.as_bytes())
}

fn line(key: &ApiKey, now: DateTime<Utc>) -> String {
    let state = match key.state(now) {
        State::Good => "good",
        State::Expired => "expired",
        State::Revoked => "revoked",
    };
    let stores = key
        .stores
        .as_ref()
        .map_or("all".to_owned(), |stores| format!("{stores:?}"));
    let used = key.last_used_at.map_or("never".to_owned(), |at| at.to_string());
    format!(
        "{}  {}  {state}  scopes {}  stores {stores}  last used {used}",
        key.id,
        key.name.escape_debug(),
        key.scopes.join(",")
    )
}

async fn revoke(connection: &mut PgConnection, id: i64) -> Result<(), Failure> {
    let mut tx = connection.begin().await?;
    let revoked = api_key::revoke(&mut tx, id, &AuditContext::system()).await?;
    tx.commit().await?;
    match revoked {
        Some(key) => print(format!("revoked: {} {}\n", key.id, key.name.escape_debug()).as_bytes()),
        None => Err(format!("there is no key {id} that is not revoked yet").into()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    api_key::is_name(name).then(|| name.to_owned()).ok_or_else(|| {
        format!("expected 1 to {LONGEST_NAME} characters on one line, without control characters")
    })
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// After a number of days.
    In(u32),
    /// At the end of this day in UTC.
    With(NaiveDate),
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expiry = match text.strip_suffix('d') {
            Some(days) => days
                .parse()
                .ok()
                .filter(|days| (1..=3650).contains(days))
                .map(Self::In),
            None => text.parse().ok().map(Self::With),
        };
        expiry.ok_or("expected a day such as 2027-01-31, or a number of days from 1d to 3650d")
    }
}

impl Expiry {
    fn after(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::In(days) => now + Days::new(days.into()),
            Self::With(day) => day.and_time(NaiveTime::MIN).and_utc() + Days::new(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_a_number_of_days_or_a_date() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let end = |text: &str| {
            text.parse::<Expiry>()
                .map(|expiry| expiry.after(now).to_rfc3339())
        };
        assert_eq!(end("90d").unwrap(), "2027-02-21T10:00:00+00:00");
        assert_eq!(end("2027-01-31").unwrap(), "2027-02-01T00:00:00+00:00");
        for wrong in ["", "d", "0d", "-1d", "4000d", "90", "tomorrow", "2027-02-30"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
