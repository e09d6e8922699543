//! `afforo migrate`

use std::{io::Write, process::ExitCode};

use clap::Args;
use sqlx::{Connection, PgConnection};

use super::{Failure, Settings};
use crate::database::{self, Migrated};

/// What `afforo migrate` is told.
#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// Change nothing; exit with 1 and name them if migrations are missing
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        let url = settings.database.url()?;
        let mut out = std::io::stdout();
        if self.check {
            let mut connection = PgConnection::connect_with(&database::connect_options(url)?).await?;
            let pending = database::pending(&mut connection).await?;
            for migration in &pending {
                writeln!(out, "missing: {migration}")?;
            }
            return Ok(if pending.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        match database::migrate(url).await? {
            Migrated::Applied(migrations) => writeln!(out, "Applied {migrations} migrations.")?,
            Migrated::UpToDate => writeln!(out, "The schema is up to date.")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
