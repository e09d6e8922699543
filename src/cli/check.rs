//! `afforo check`

use std::{io::Write, process::ExitCode};

use clap::Args;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{Failure, Settings};
use crate::{check, db};

/// `afforo check` has no arguments.
#[derive(Args, Debug)]
pub(super) struct Check {}

impl Check {
    pub async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        // The check reads all tables, so it needs no statement timeout.
        let options = db::connect_options(settings.database.url()?)?
            .options([("statement_timeout", "0")])
            .disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await?;
        if !db::versions(&mut connection).await?.missing.is_empty() {
            return Err("the schema is not up to date: run `afforo migrate` first".into());
        }
        let mut out = std::io::stdout();
        let mut code = ExitCode::SUCCESS;
        for checked in check::run(&mut connection).await? {
            if checked.broken == 0 {
                writeln!(out, "ok     {}", checked.rule)?;
            } else {
                let examples = checked.examples.join("; ");
                writeln!(
                    out,
                    "BROKEN {}: {} times, such as {examples}",
                    checked.rule, checked.broken
                )?;
                code = ExitCode::FAILURE;
            }
        }
        connection.close().await?;
        Ok(code)
    }
}
