//! `afforo migrate`

use std::{io::Write, process::ExitCode};

use clap::Args;
use sqlx::{Connection, PgConnection};

use super::{Failure, Settings, wait_for::WaitFor};
use crate::db::{self, Migrated, Versions};

/// Arguments of `afforo migrate`.
#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// Change nothing; list missing migrations and exit with 1 if there are any
    #[arg(long)]
    check: bool,
    /// Confirm that no server or worker of an earlier release is running any more
    #[arg(long, conflicts_with = "check")]
    complete: bool,
    #[command(flatten)]
    wait_for: WaitFor,
}

impl Migrate {
    pub async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        let url = settings.database.migrate_url()?;
        self.wait_for.wait(url).await?;
        let mut out = std::io::stdout();
        if self.check {
            let mut connection = PgConnection::connect_with(&db::connect_options(url).await?).await?;
            let Versions { missing, unknown } = db::versions(&mut connection).await?;
            for migration in &missing {
                writeln!(out, "missing: {migration}")?;
            }
            for migration in &unknown {
                writeln!(out, "newer: {migration}")?;
            }
            return Ok(if missing.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        match db::migrate(url).await? {
            Migrated::Applied(migrations) => writeln!(out, "Applied {migrations} migrations.")?,
            Migrated::UpToDate => writeln!(out, "The schema is up to date.")?,
            Migrated::Newer(unknown) => writeln!(
                out,
                "The schema is newer than this release, and was left as it is: {}.",
                unknown.join(", ")
            )?,
        }
        if self.complete {
            db::complete_upgrade(url).await?;
            writeln!(out, "The upgrade is complete.")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
