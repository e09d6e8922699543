//! `afforo createsuperuser`

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use clap::Args;
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use super::{Failure, Settings, prompt};
use crate::{
    audit::AuditContext,
    auth::{AccountFields, Role, account, accounts, password},
    db,
};

/// Arguments of `afforo createsuperuser`.
#[derive(Args, Debug)]
pub(super) struct CreateSuperuser {
    /// Username: letters, digits and @ . + - _
    #[arg(long)]
    username: Option<String>,
    /// Email address; may be blank
    #[arg(long)]
    email: Option<String>,
    /// Do not prompt: read missing values from `DJANGO_SUPERUSER_USERNAME`, `DJANGO_SUPERUSER_PASSWORD` and
    /// `DJANGO_SUPERUSER_EMAIL`
    #[arg(long, alias = "no-input")]
    noinput: bool,
}

impl CreateSuperuser {
    pub async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let mut connection = super::connect(&db::connect_options(settings.database.url()?).await?).await?;
        if !self.noinput && !io::stdin().is_terminal() {
            return Err(
                "there is no terminal to ask at: use --noinput with DJANGO_SUPERUSER_USERNAME, \
                 DJANGO_SUPERUSER_PASSWORD and, if you like, DJANGO_SUPERUSER_EMAIL"
                    .into(),
            );
        }
        let (fields, password) = if self.noinput {
            self.given()?
        } else {
            self.asked(&mut connection).await?
        };
        let hash = password::hash(&password).await?;
        let mut tx = connection.begin().await?;
        accounts::create(&mut tx, &fields, &hash, &AuditContext::system()).await?;
        tx.commit().await?;
        connection.close().await?;
        writeln!(io::stdout(), "Superuser created successfully.")?;
        Ok(())
    }

    fn given(self) -> Result<(AccountFields, SecretString), Failure> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let username = self.username.or_else(|| variable("DJANGO_SUPERUSER_USERNAME"));
        let username =
            username.ok_or("You must use --username with --noinput, or set DJANGO_SUPERUSER_USERNAME.")?;
        let email = self.email.or_else(|| variable("DJANGO_SUPERUSER_EMAIL"));
        let fields = superuser(username, email.unwrap_or_default());
        let password = variable("DJANGO_SUPERUSER_PASSWORD");
        let password = password.ok_or("You must set DJANGO_SUPERUSER_PASSWORD with --noinput.")?;
        let password = SecretString::from(password);
        let mut wrong: Vec<&str> = fields
            .faults()
            .into_iter()
            .map(|(_, sentence)| sentence)
            .collect();
        wrong.extend(password::weaknesses(&password, &fields.username, &fields.email));
        if !wrong.is_empty() {
            return Err(wrong.join(" ").into());
        }
        Ok((fields, password))
    }

    async fn asked(self, connection: &mut PgConnection) -> Result<(AccountFields, SecretString), Failure> {
        let mut fields = superuser(String::new(), String::new());
        let mut given = self.username;
        loop {
            fields.username = match given.take() {
                Some(username) => username,
                None => prompt::ask("Username: ")?,
            };
            let taken = account::named(&mut *connection, &fields.username)
                .await?
                .is_some();
            let taken = taken.then(|| accounts::AccountError::Taken.to_string());
            if !complained(&fields, "username", taken)? {
                break;
            }
        }
        let mut given = self.email;
        loop {
            fields.email = match given.take() {
                Some(email) => email,
                None => prompt::ask("Email address: ")?,
            };
            if !complained(&fields, "email", None)? {
                break;
            }
        }
        let password = prompt::ask_password(&fields.username, &fields.email, None)?;
        Ok((fields, password))
    }
}

fn superuser(username: String, email: String) -> AccountFields {
    AccountFields {
        username,
        email,
        role: Role::Superuser,
        stores: None,
        is_active: true,
    }
}

/// Prints the errors of a field, if any.
fn complained(fields: &AccountFields, name: &str, wrong: Option<String>) -> io::Result<bool> {
    let faults = fields.faults().into_iter();
    let faults = faults
        .filter(|(field, _)| *field == name)
        .map(|(_, sentence)| sentence.to_owned());
    let wrong: Vec<String> = faults.chain(wrong).collect();
    for sentence in &wrong {
        writeln!(io::stderr(), "Error: {sentence}")?;
    }
    Ok(!wrong.is_empty())
}
