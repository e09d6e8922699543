//! `afforo changepassword`

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use clap::Args;
use secrecy::SecretString;
use sqlx::Connection;

use super::{Failure, Settings, prompt};
use crate::{
    audit::AuditContext,
    auth::{account, accounts, password},
    db,
};

/// Number of attempts to enter a good password.
const ATTEMPTS: u32 = 3;

/// Arguments of `afforo changepassword`.
#[derive(Args, Debug)]
pub(super) struct ChangePassword {
    /// Username [default: the user who runs the command]
    username: Option<String>,
}

impl ChangePassword {
    pub async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let mut connection = super::connect(&db::connect_options(settings.database.url()?).await?).await?;
        let username = self.username.or_else(|| env::var("USER").ok());
        let username = username.ok_or("say whose password: afforo changepassword USERNAME")?;
        let account = account::named(&mut connection, &username).await?;
        let account = account.ok_or_else(|| format!("user '{username}' does not exist"))?;
        writeln!(io::stderr(), "Changing password for user '{username}'")?;
        let password = if io::stdin().is_terminal() {
            prompt::ask_password(&account.username, &account.email, Some(ATTEMPTS))?
        } else {
            // One line from a pipe.
            let password = SecretString::from(prompt::read_line()?);
            let wrong = password::weaknesses(&password, &account.username, &account.email);
            if !wrong.is_empty() {
                return Err(wrong.join(" ").into());
            }
            password
        };
        let hash = password::hash(&password).await?;
        let mut tx = connection.begin().await?;
        accounts::change_password(&mut tx, &account, &hash, None, &AuditContext::system()).await?;
        tx.commit().await?;
        connection.close().await?;
        writeln!(
            io::stdout(),
            "Password changed successfully for user '{username}'"
        )?;
        Ok(())
    }
}
