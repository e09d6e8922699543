//! What the process says about itself: log lines on standard error, as text for people or JSON for machines.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event, coloured on a terminal.
    #[default]
    Pretty,
    /// One JSON object an event, with the fields of its spans.
    Json,
}

/// Starts logging for the whole process. `filter` is a list of directives such as `info,afforo=debug`.
///
/// # Errors
/// When `filter` cannot be parsed.
pub fn start(filter: &str, format: LogFormat) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A process that embeds Afforo and already logs keeps its own subscriber.
    let _already_logging = match format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
