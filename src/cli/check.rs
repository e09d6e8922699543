//! `afforo check`

use std::{io::Write, process::ExitCode};

use clap::Args;
use sqlx::Connection;

use super::{Failure, Settings};
use crate::{check, db};

/// `afforo check` has no arguments.
#[derive(Args, Debug)]
pub(super) struct Check {}

impl Check {
    pub async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        let mut connection =
            super::connect(&db::bulk_options(settings.database.migrate_url()?).await?).await?;
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
