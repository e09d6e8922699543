//! Prompts and the database connection of the subcommands for accounts.

use std::io::{self, BufRead, Write};

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;

use super::{Failure, Settings};
use crate::{auth::password, db};

/// Connects, and checks that the schema has accounts.
pub(super) async fn connect(settings: &Settings) -> Result<PgConnection, Failure> {
    use sqlx::Connection;
    let options = db::connect_options(settings.database.url()?)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    if !db::versions(&mut connection).await?.missing.is_empty() {
        return Err("the schema is not up to date: run `afforo migrate` first".into());
    }
    Ok(connection)
}

/// Prompts for a line.
pub(super) fn ask(question: &str) -> io::Result<String> {
    write!(io::stderr(), "{question}")?;
    Ok(read_line()?.trim().to_owned())
}

/// Reads a line without its line break.
pub(super) fn read_line() -> io::Result<String> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Prompts twice for a new password without echo, until it is good enough or `attempts` are used up.
pub(super) fn ask_password(
    username: &str,
    email: &str,
    attempts: Option<u32>,
) -> Result<SecretString, Failure> {
    let mut left = attempts;
    loop {
        let password = SecretString::from(rpassword::prompt_password("Password: ")?);
        let again = SecretString::from(rpassword::prompt_password("Password (again): ")?);
        let mut wrong = password::weaknesses(&password, username, email);
        if password.expose_secret() != again.expose_secret() {
            wrong = vec!["Your passwords didn't match."];
        }
        if wrong.is_empty() {
            return Ok(password);
        }
        for sentence in wrong {
            writeln!(io::stderr(), "Error: {sentence}")?;
        }
        if let Some(left) = &mut left {
            *left -= 1;
            if *left == 0 {
                return Err(format!("nothing was changed, after {} attempts", attempts.unwrap_or(1)).into());
            }
        }
    }
}
