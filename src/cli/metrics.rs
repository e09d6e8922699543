//! `/metrics`: the metrics of all modules.

use tokio::net::TcpListener;

use super::{Failure, Settings};
use crate::{db::Database, telemetry};

/// Opens `/metrics` if the settings have an address. Otherwise metrics are off.
pub(super) async fn open(settings: &Settings, database: &Database) -> Result<(), Failure> {
    let Some(address) = settings.telemetry.metrics_addr.0 else {
        return Ok(());
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} for /metrics: {error}"))?;
    let metrics = telemetry::install_metrics(vec![Box::new(database.gauges())])?;
    tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
    tokio::spawn(telemetry::serve_metrics(listener, metrics));
    tokio::spawn(database.clone().probe());
    Ok(())
}
