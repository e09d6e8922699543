//! All settings, in groups. A flag overrides an environment variable, which overrides `.env`, which overrides the default.
//!
//! `--help` and `.env.example` show the documentation of the fields; a test keeps them equal. Names and meanings are those of
//! the original system.

mod access;
mod capacity;
mod delivery;
mod hosts;
mod rates;
mod telemetry;

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use rand::{Rng, distr::Alphanumeric};
use secrecy::{ExposeSecret, SecretString};

use crate::db::{DatabaseUrl, DatabaseUrlError};
use redis_rate_limit::TrustedProxies;

pub use access::{ApiAuth, ApiAuthSetting, NotAnApiAuth};
pub use capacity::CapacitySettings;
pub use delivery::{DeliverySettings, DeliverySettingsError};
pub use hosts::{AllowedHosts, AllowedOrigins, NeverMatches};
pub use rates::{NotARateLimit, RateLimit, RateSettings};
pub use telemetry::{LogSettings, MetricsAddress, TelemetrySettings};

/// The key in `.env.example`. It is public, so it is not accepted in production.
pub const EXAMPLE_SECRET_KEY: &str = "change-me";

/// Minimum length in characters: 128 bits as random hexadecimal digits.
pub const SHORTEST_SECRET_KEY: usize = 32;

/// Redis on this machine.
const DEFAULT_REDIS_URL: &str = "redis://localhost:6379/0";

/// The database and its pools.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// PostgreSQL connection URL, such as `postgres://user:password@localhost:5432/inventory_db`; of several hosts (`db1,db2`) the one that takes writes is used
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = secret, global = true)]
    pub database_url: Option<SecretString>,

    /// The same for `migrate`, `seed`, `check` and `partitions`, if `DATABASE_URL` leads through a pooler: the way without it
    #[arg(long, env = "MIGRATE_DATABASE_URL", hide_env_values = true, value_parser = secret, global = true)]
    pub migrate_database_url: Option<SecretString>,

    /// PostgreSQL connection URL of replicas that serve reads; it may have several hosts (`db2,db3`)
    #[arg(long, env = "DATABASE_REPLICA_URL", hide_env_values = true, value_parser = secret, global = true)]
    pub database_replica_url: Option<SecretString>,

    /// Seconds that a replica may be behind; one that is further behind serves no reads
    #[arg(long, env = "REPLICA_MAX_LAG", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600), global = true)]
    pub replica_max_lag: u32,

    /// Pool size for reads, and again for everything else but the placement of orders
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    pub database_pool_size: u32,

    /// Pool size for placing orders, one lane each; about the number of cores of PostgreSQL
    #[arg(long, env = "PLACEMENT_POOL_SIZE", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    pub placement_pool_size: u32,
}

impl DatabaseSettings {
    /// Treats blank URLs as unset, and checks others.
    pub fn check(&mut self) -> Result<(), SettingsError> {
        type Parse = fn(&str) -> Result<DatabaseUrl, DatabaseUrlError>;
        let urls: [(_, _, Parse); 3] = [
            ("DATABASE_URL", &mut self.database_url, DatabaseUrl::for_writes),
            (
                "MIGRATE_DATABASE_URL",
                &mut self.migrate_database_url,
                DatabaseUrl::for_writes,
            ),
            (
                "DATABASE_REPLICA_URL",
                &mut self.database_replica_url,
                DatabaseUrl::for_reads,
            ),
        ];
        for (name, url, parse) in urls {
            unset_if_blank(url);
            if let Some(url) = url {
                // The error omits the URL, because it may hold a password.
                parse(url.expose_secret()).map_err(|error| SettingsError::DatabaseUrl(name, error))?;
            }
        }
        Ok(())
    }

    /// The URL, or an error that says how to set it.
    pub fn url(&self) -> Result<&str, SettingsError> {
        self.database_url
            .as_ref()
            .map(ExposeSecret::expose_secret)
            .ok_or(SettingsError::NoDatabase)
    }

    /// The URL for migrations and for work on whole tables.
    pub fn migrate_url(&self) -> Result<&str, SettingsError> {
        match &self.migrate_database_url {
            Some(url) => Ok(url.expose_secret()),
            None => self.url(),
        }
    }

    /// How far a replica may be behind.
    pub fn max_lag(&self) -> Duration {
        Duration::from_secs(self.replica_max_lag.into())
    }
}

/// Redis: rate-limit windows and queued jobs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct RedisSettings {
    /// Redis connection URL, `redis://localhost:6379/0` unless set
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = secret, global = true)]
    pub redis_url: Option<SecretString>,

    /// Pool size for queueing jobs
    #[arg(long, env = "REDIS_POOL_SIZE", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    pub redis_pool_size: u32,

    /// Prefix of all keys, if several installations share a Redis; the same for servers and workers
    #[arg(long, env = "REDIS_KEY_PREFIX", default_value = "", hide_default_value = true, value_parser = key_prefix, global = true)]
    pub redis_key_prefix: String,
}

impl RedisSettings {
    /// Treats a blank URL as unset, and checks any other.
    pub fn check(&mut self) -> Result<(), SettingsError> {
        unset_if_blank(&mut self.redis_url);
        redis::Client::open(self.url())
            .map(drop)
            .map_err(|error| SettingsError::RedisUrl(error.to_string()))
    }

    /// The configured URL, or the default.
    pub fn url(&self) -> &str {
        self.redis_url
            .as_ref()
            .map_or(DEFAULT_REDIS_URL, ExposeSecret::expose_secret)
    }
}

/// HTTP settings.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// Development mode: generates a secret key if none is set, and allows pages of this machine to read the API
    #[arg(long, env = "DEBUG", default_value = "True", value_parser = boolean, action = clap::ArgAction::Set, global = true)]
    pub debug: bool,

    /// Secret key that signs cookies and links, at least 32 characters; required unless DEBUG
    #[arg(long, env = "SECRET_KEY", hide_env_values = true, value_parser = secret, global = true)]
    pub secret_key: Option<SecretString>,

    /// Which API requests need a key: `all`, `write` or none (`off`); blank: `off` with DEBUG, `all` otherwise
    #[arg(
        long,
        env = "API_AUTH",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub api_auth: ApiAuthSetting,

    /// Allowed host names of requests, comma-separated; `.example.com` includes its subdomains, `*` is any
    #[arg(
        long,
        env = "ALLOWED_HOSTS",
        default_value = "localhost,127.0.0.1",
        global = true
    )]
    pub allowed_hosts: AllowedHosts,

    /// Origins whose pages may read the API, such as `https://shop.example.com`, comma-separated; with DEBUG also those of this machine
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", default_value = "", global = true)]
    pub cors_allowed_origins: AllowedOrigins,

    /// Whether to limit autocomplete to 20 requests per minute and client
    #[arg(long, env = "RATE_LIMIT_ENABLED", default_value = "True", value_parser = boolean, action = clap::ArgAction::Set, global = true)]
    pub rate_limit_enabled: bool,

    /// Addresses and networks (CIDR) of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, comma-separated
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", global = true)]
    pub trusted_proxies: TrustedProxies,

    #[command(flatten)]
    // Documentation would replace the heading of the group.
    pub rates: RateSettings,
}

impl HttpSettings {
    /// Which requests need a key.
    pub fn api_auth(&self) -> ApiAuth {
        let unless_set = if self.debug { ApiAuth::Off } else { ApiAuth::All };
        self.api_auth.0.unwrap_or(unless_set)
    }

    /// Whether no secret key is set. The public key of `.env.example` does not count.
    pub fn has_no_secret_key(&self) -> bool {
        let key = self.secret_key.as_ref().map(|key| key.expose_secret().trim());
        key.is_none_or(|key| key.is_empty() || key == EXAMPLE_SECRET_KEY)
    }

    /// Whether the secret key is too short.
    pub fn has_short_secret_key(&self) -> bool {
        self.secret_key
            .as_ref()
            .is_some_and(|key| key.expose_secret().trim().chars().count() < SHORTEST_SECRET_KEY)
    }

    /// Refuses other addresses than loopback for an API that is open by default.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), SettingsError> {
        let is_local = address.ip().to_canonical().is_loopback();
        if self.debug && self.api_auth.0.is_none() && !is_local {
            return Err(SettingsError::OpenToOthers(address));
        }
        Ok(())
    }

    /// Requires a secret key. In development a missing one is generated.
    pub fn require_secret_key(&mut self) -> Result<(), SettingsError> {
        if !self.has_no_secret_key() {
            return Ok(());
        }
        if self.debug {
            self.secret_key = Some(random_secret_key().into());
            return Ok(());
        }
        let key = self.secret_key.as_ref().map(|key| key.expose_secret().trim());
        Err(if key == Some(EXAMPLE_SECRET_KEY) {
            SettingsError::ExampleSecretKey
        } else {
            SettingsError::NoSecretKey
        })
    }
}

/// A random secret key.
pub fn random_secret_key() -> String {
    let letters = rand::rng().sample_iter(Alphanumeric).take(50);
    letters.map(char::from).collect()
}

/// The address of the server.
#[derive(Args, Clone, Debug)]
pub struct ListenSettings {
    /// Address to listen on: `ADDR:PORT`, or a port on 127.0.0.1
    #[arg(value_name = "ADDR:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,

    /// Port on 127.0.0.1, if `ADDR:PORT` is not given
    #[arg(long, env = "PORT", default_value_t = 8000)]
    pub port: u16,
}

impl ListenSettings {
    /// The address to bind.
    pub fn address(&self) -> SocketAddr {
        self.listen
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], self.port)))
    }
}

/// The background worker.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Worker")]
pub struct WorkerSettings {
    /// Maximum number of concurrent jobs
    #[arg(short, long, env = "WORKER_CONCURRENCY", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,

    #[command(flatten)]
    // Documentation would replace the heading of the group.
    pub delivery: DeliverySettings,
}

/// An invalid setting that prevents a start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No database is configured.
    #[error("no database: set DATABASE_URL, or run `afforo dev`, which brings its own")]
    NoDatabase,
    /// Not a PostgreSQL URL.
    #[error("{0} is no URL such as postgres://user:password@localhost:5432/inventory_db: {1}")]
    DatabaseUrl(&'static str, DatabaseUrlError),
    /// Not a Redis URL.
    #[error("REDIS_URL is no URL such as redis://localhost:6379/0: {0}")]
    RedisUrl(String),
    /// Production without a secret.
    #[error(
        "SECRET_KEY is not set: set it to a random text of at least {SHORTEST_SECRET_KEY} characters, such as \
         `openssl rand -hex 32` prints, or set DEBUG=True for development"
    )]
    NoSecretKey,
    /// Production with a short secret.
    #[error(
        "SECRET_KEY is shorter than {SHORTEST_SECRET_KEY} characters: set it to a random text, such as \
         `openssl rand -hex 32` prints"
    )]
    ShortSecretKey,
    /// Development mode on a public address.
    #[error(
        "DEBUG is on, so the API would be open to every client that reaches {0}: set DEBUG=False, or set \
         API_AUTH to `all`, `write` or `off` to say who needs a key"
    )]
    OpenToOthers(SocketAddr),
    /// Production with a public secret.
    #[error(
        "SECRET_KEY is the example's, which everybody can read: set it to a long random text of your own"
    )]
    ExampleSecretKey,
}

/// Treats a blank variable as unset: container tools set missing values to blank.
fn unset_if_blank(url: &mut Option<SecretString>) {
    if url
        .as_ref()
        .is_some_and(|url| url.expose_secret().trim().is_empty())
    {
        *url = None;
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value parser")]
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

/// An invalid key prefix. Braces would replace the hash tags of keys.
#[derive(Debug, thiserror::Error)]
#[error("expected at most 64 visible ASCII characters without {{ and }}, such as `shop:`")]
struct NotAKeyPrefix;

fn key_prefix(text: &str) -> Result<String, NotAKeyPrefix> {
    let text = text.trim();
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
    if text.len() > 64 || !text.bytes().all(allowed) {
        return Err(NotAKeyPrefix);
    }
    Ok(text.to_owned())
}

#[derive(Debug, thiserror::Error)]
#[error("expected True or False")]
struct NotABoolean;

fn boolean(text: &str) -> Result<bool, NotABoolean> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
        "false" | "0" | "no" | "off" | "f" | "n" | "" => Ok(false),
        _ => Err(NotABoolean),
    }
}

/// A text that is neither `ADDR:PORT` nor a port.
#[derive(Debug, thiserror::Error)]
#[error("expected an address and port such as 0.0.0.0:8000, or a port")]
pub struct NotAnAddress;

fn address(text: &str) -> Result<SocketAddr, NotAnAddress> {
    let text = text.replace("localhost", "127.0.0.1");
    match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        Err(_) => text.parse().map_err(|_| NotAnAddress),
    }
}
