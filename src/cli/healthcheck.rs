//! `afforo healthcheck`

use std::{net::Ipv4Addr, time::Duration};

use clap::Args;
use reqwest::StatusCode;

use super::Failure;
use crate::{config::ListenSettings, http_client};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Arguments of `afforo healthcheck`.
#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    listen: ListenSettings,
    /// Check whether the server accepts requests, not only whether it answers
    #[arg(long)]
    ready: bool,
}

impl Healthcheck {
    pub async fn run(self) -> Result<(), Failure> {
        let mut address = self.listen.address();
        if address.ip().is_unspecified() {
            // A server that listens on all addresses listens on loopback too.
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let path = if self.ready { "/health/ready/" } else { "/health/" };
        let client = http_client::builder().timeout(TIMEOUT).build()?;
        match client.get(format!("http://{address}{path}")).send().await {
            Ok(response) if response.status() == StatusCode::OK => Ok(()),
            Ok(response) => Err(format!("{address} answered {}", response.status()).into()),
            Err(error) => Err(format!("{address} does not answer: {}", http_client::reason(error)).into()),
        }
    }
}
