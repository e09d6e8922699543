//! What the process says about itself, and where.

use std::{net::SocketAddr, str::FromStr};

use clap::Args;

use super::{NotAnAddress, address};
use crate::telemetry::LogFormat;

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogSettings {
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", default_value = "pretty", global = true)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as `info,afforo=debug`
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "info,apalis_core=warn",
        global = true
    )]
    pub rust_log: String,
}

/// What others may watch.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetrySettings {
    /// Where Prometheus finds `/metrics`: `ADDR:PORT`, or a port on 127.0.0.1; nowhere unless set. Not for the public
    #[arg(long, env = "METRICS_ADDR", default_value = "", global = true)]
    pub metrics_addr: MetricsAddress,

    /// OpenTelemetry collector that spans are exported to, such as `http://localhost:4318`; none unless set
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "", global = true)]
    pub otel_exporter_otlp_endpoint: String,
}

/// Where `/metrics` is, if anywhere.
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
