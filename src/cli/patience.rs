//! `--wait-for`: patience with a database that is about to come.

use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::db;

/// How long a database that is away is waited for.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Wait so long at first for a database that cannot be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_for: u32,
}

impl Patience {
    /// Waits, if it was asked for.
    pub async fn wait(self, url: &str) -> Result<(), Failure> {
        if self.wait_for == 0 {
            return Ok(());
        }
        let patience = Duration::from_secs(self.wait_for.into());
        let waited = db::wait(url, patience).await;
        waited.map_err(|error| {
            let text = super::with_causes(&error);
            format!(
                "the database cannot be reached, after {} s: {text}",
                self.wait_for
            )
            .into()
        })
    }
}
