//! Telemetry: log lines on standard error, as text or JSON; metrics for Prometheus; spans for an OpenTelemetry collector.

mod descriptions;
mod fields;
mod line_limit;
mod listener;
mod process;
mod recorder;
mod traces;

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use fields::LineFields;

pub use line_limit::LineLimit;
pub use listener::serve as serve_metrics;
pub use recorder::{Metrics, install as install_metrics, is_installed as counts};
pub use traces::{Traces, TracesError, are_exported, finish_request, join_trace};

/// The crates whose spans are exported.
const TRACED: [&str; 2] = [env!("CARGO_PKG_NAME"), "apalis_redis_queue"];

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event, coloured on a terminal.
    #[default]
    Pretty,
    /// One JSON object an event, with the fields of its spans.
    Json,
}

/// Starts logging for the whole process, and the export of spans if configured. `filter` is a list of directives such as
/// `info,afforo=debug` for lines; it does not affect spans.
///
/// # Errors
/// When `filter` cannot be parsed.
pub fn start(filter: &str, format: LogFormat, traces: Option<&Traces>) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    // A process that embeds Afforo may have a subscriber already.
    let _already_logging = match traces {
        None => Registry::default().with(filter).with(lines(format)).try_init(),
        Some(traces) => Registry::default()
            .with(lines(format).with_filter(filter))
            .with(
                traces
                    .layer()
                    .with_filter(Targets::new().with_targets(TRACED.map(|name| (name, LevelFilter::INFO)))),
            )
            .try_init(),
    };
    if format == LogFormat::Json {
        // The default hook would write text between the objects.
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(tracing::field::display);
            tracing::error!(
                location,
                text = panic.payload_as_str().unwrap_or_default(),
                "a panic"
            );
        }));
    }
    Ok(())
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => lines
            .with_ansi(std::io::stderr().is_terminal())
            .fmt_fields(LineFields)
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}
