//! `/metrics`: the metrics of all modules.

use tokio::net::TcpListener;

use super::{Failure, Settings};
use crate::{
    db::{self, Database},
    http, order, server, telemetry, worker,
};

/// Opens `/metrics` if the settings have an address. Otherwise metrics are off.
pub(super) async fn open(settings: &Settings, database: &Database) -> Result<(), Failure> {
    let Some(address) = settings.telemetry.metrics_addr.0 else {
        return Ok(());
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} for /metrics: {error}"))?;
    let metrics = telemetry::install_metrics(describe_metrics, vec![Box::new(database.look())])?;
    tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
    tokio::spawn(telemetry::serve_metrics(listener, metrics));
    tokio::spawn(database.clone().probe());
    Ok(())
}

/// Describes the metrics of all modules.
fn describe_metrics() {
    db::describe_metrics();
    redis_rate_limit::describe_metrics();
    order::describe_metrics();
    server::describe_metrics();
    http::describe_metrics();
    worker::describe_metrics();
}
