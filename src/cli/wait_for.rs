//! `--wait-for`: wait for a database that is still starting.

use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::{db, error_chain};

/// How long to wait for the database.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct WaitFor {
    /// Wait up to this long for the database at the start
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_for: u32,
}

impl WaitFor {
    /// Waits until the database answers.
    pub async fn wait(self, url: &str) -> Result<(), Failure> {
        if self.wait_for == 0 {
            return Ok(());
        }
        let limit = Duration::from_secs(self.wait_for.into());
        let waited = db::wait(url, limit).await;
        waited.map_err(|error| {
            let text = error_chain::text(&error);
            format!(
                "the database cannot be reached, after {} s: {text}",
                self.wait_for
            )
            .into()
        })
    }
}
