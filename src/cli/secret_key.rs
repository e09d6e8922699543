//! The minimum length of the secret key in production.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::timeout;

use super::{Failure, Settings};
use crate::{
    config::{SHORTEST_SECRET_KEY, SettingsError},
    db,
};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Refuses a short secret key. If it is in use already, only warns: an upgrade must not stop a service, and a new key would
/// end all sessions and API keys.
pub(super) async fn check(settings: &Settings) -> Result<(), Failure> {
    if settings.http.debug || !settings.http.has_short_secret_key() {
        return Ok(());
    }
    // A database that is down may hold data that the key signed.
    if let Ok(Ok(false)) = timeout(TIMEOUT, is_in_use(settings.database.url()?)).await {
        return Err(SettingsError::ShortSecretKey.into());
    }
    tracing::warn!(
        "SECRET_KEY is shorter than {SHORTEST_SECRET_KEY} characters: an attacker who guesses it can forge sessions and API keys. \
         docs/DEPLOYMENT.md says how to change it"
    );
    Ok(())
}

/// Whether a database holds data that depends on the key.
async fn is_in_use(url: &str) -> sqlx::Result<bool> {
    let mut connection = PgConnection::connect_with(&db::connect_options(url).await?).await?;
    let mut is_in_use = false;
    for table in ["category", "store", "account"] {
        let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(table)
            .fetch_one(&mut connection)
            .await?;
        if exists {
            let sql = format!("select exists (select from {table})");
            is_in_use |= sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql))
                .fetch_one(&mut connection)
                .await?;
        }
    }
    connection.close().await?;
    Ok(is_in_use)
}
