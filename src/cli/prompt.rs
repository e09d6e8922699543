//! Prompts of the subcommands for accounts.

use std::io::{self, BufRead, Write};

use secrecy::{ExposeSecret, SecretString};

use super::Failure;
use crate::auth::password;

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
