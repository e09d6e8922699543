//! Logs, metrics and traces.

use std::{net::SocketAddr, str::FromStr};

use clap::Args;

use super::{NotAnAddress, address};
use crate::telemetry::LogFormat;

/// Log settings.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogSettings {
    /// Format of log lines
    #[arg(long, env = "LOG_FORMAT", default_value = "pretty", global = true)]
    pub log_format: LogFormat,

    /// Log filter: a level, or directives such as `info,afforo=debug`
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "info,apalis_core=warn",
        global = true
    )]
    pub rust_log: String,
}

/// Metrics and traces.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetrySettings {
    /// Address of `/metrics` for Prometheus: `ADDR:PORT`, or a port on 127.0.0.1; off unless set. Keep it private
    #[arg(long, env = "METRICS_ADDR", default_value = "", global = true)]
    pub metrics_addr: MetricsAddress,

    /// URL of the OpenTelemetry collector for traces, such as `http://localhost:4318`; off unless set
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "", global = true)]
    pub otel_exporter_otlp_endpoint: String,
}

/// The address of `/metrics`, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

impl FromStr for MetricsAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let address = (!text.is_empty()).then(|| address(text)).transpose()?;
        Ok(Self(address))
    }
}
