//! Settings that every session must have, and the check that they are in force.
//!
//! A pooler in transaction mode ignores startup options: its sessions have the settings of the role.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{connect_options, failure};

/// How long the check at the start waits for the database.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A required setting.
struct Setting {
    name: &'static str,
    /// The value that the program asks for.
    value: &'static str,
    /// The longest accepted time in milliseconds; `None` if only the value is accepted. Operators may set shorter timeouts.
    longest: Option<u32>,
}

const SETTINGS: [Setting; 6] = [
    Setting::up_to("statement_timeout", "30s", 30_000),
    Setting::up_to("lock_timeout", "10s", 10_000),
    Setting::up_to("idle_in_transaction_session_timeout", "30s", 30_000),
    // PostgreSQL then ends a statement whose client closed the connection.
    Setting::up_to("client_connection_check_interval", "2s", 2_000),
    Setting::exactly("TimeZone", "UTC"),
    // JIT compilation takes longer than the statements of this program.
    Setting::exactly("jit", "off"),
];

impl Setting {
    const fn up_to(name: &'static str, value: &'static str, longest: u32) -> Self {
        Self {
            name,
            value,
            longest: Some(longest),
        }
    }

    const fn exactly(name: &'static str, value: &'static str) -> Self {
        Self {
            name,
            value,
            longest: None,
        }
    }

    /// Whether a value of `pg_settings` will do. Times are in milliseconds, and 0 turns a timeout off.
    fn accepts(&self, found: &str) -> bool {
        match self.longest {
            Some(longest) => found.parse().is_ok_and(|time| (1..=longest).contains(&time)),
            None => found == self.value,
        }
    }
}

/// The required settings as startup options.
pub(super) fn options() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.iter().map(|setting| (setting.name, setting.value))
}

/// Why sessions cannot be used as they are.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Settings are not in force.
    #[error(
        "the sessions of DATABASE_URL lack settings ({}): a pooler ignores the options of its clients, so the role needs them. \
         Run `{}`, then `RECONNECT` in the console of PgBouncer",
        found.join(", "),
        commands.join(" ")
    )]
    NotInForce {
        /// Each wrong setting with its value.
        found: Vec<String>,
        /// What to run.
        commands: Vec<String>,
    },
    /// The pooler does not accept the startup parameters.
    #[error(
        "the pooler of DATABASE_URL refuses connections ({0}): set `ignore_startup_parameters = extra_float_digits,options` in \
         pgbouncer.ini"
    )]
    StartupParameters(String),
    /// The pooler does not keep prepared statements apart.
    #[error(
        "the pooler of DATABASE_URL mixes up the prepared statements of its clients ({0}): use PgBouncer 1.21 or later with \
         `max_prepared_statements = 200`, or `pool_mode = session`"
    )]
    PreparedStatements(String),
}

/// Checks that a session has all required settings. Returns whether they come from the startup options, as they do without a
/// pooler: then the other startup options are in force too.
///
/// # Errors
/// [`SessionError`] as [`sqlx::Error::Configuration`].
pub(super) async fn require_settings(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let names = SETTINGS.map(|setting| format!("'{}'", setting.name)).join(", ");
    let rows = sqlx::raw_sql(AssertSqlSafe(format!(
        "select name, setting, quote_ident(session_user), source = 'client' from pg_settings where name in ({names})"
    )))
    .fetch_all(connection)
    .await?;
    let (mut found, mut commands, mut by_options) = (Vec::new(), Vec::new(), true);
    for row in &rows {
        let (name, value): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        if let Some(setting) = setting.filter(|setting| !setting.accepts(value)) {
            let role: &str = row.try_get(2)?;
            found.push(format!("{name} is {value}"));
            commands.push(format!("ALTER ROLE {role} SET {name} = '{}';", setting.value));
        }
        by_options &= row.try_get::<bool, _>(3)?;
    }
    if found.is_empty() {
        return Ok(by_options);
    }
    Err(sqlx::Error::Configuration(
        SessionError::NotInForce { found, commands }.into(),
    ))
}

/// Checks at the start that sessions have all required settings, and that a pooler can serve them. A database that does not
/// answer passes: each later connection of a pool is checked again.
///
/// # Errors
/// What to change.
pub async fn check_sessions(url: &str) -> Result<(), SessionError> {
    let Ok(options) = connect_options(url).await else {
        return Ok(());
    };
    match timeout(TIMEOUT, open_twice(&options)).await {
        Ok(Err(error)) => diagnosis(error).map_or(Ok(()), Err),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// Opens two connections that prepare a statement under the same name. A pooler may give both the same session.
async fn open_twice(options: &PgConnectOptions) -> sqlx::Result<()> {
    for _ in 0..2 {
        let mut connection = PgConnection::connect_with(options).await?;
        require_settings(&mut connection).await?;
        sqlx::query("select 1").execute(&mut connection).await?;
        connection.close().await?;
    }
    Ok(())
}

/// What an error says about a pooler.
fn diagnosis(error: sqlx::Error) -> Option<SessionError> {
    if failure::has_wrong_statement(&error) {
        return Some(SessionError::PreparedStatements(message(&error)));
    }
    match error {
        sqlx::Error::Configuration(error) => error.downcast().ok().map(|error| *error),
        // PgBouncer has no SQLSTATE of its own for this.
        error if message(&error).contains("startup parameter") => {
            Some(SessionError::StartupParameters(message(&error)))
        }
        _ => None,
    }
}

fn message(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .map_or_else(String::new, |error| error.message().to_owned())
}
