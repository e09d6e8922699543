//! How much a server takes on at a time.

use clap::Args;

/// What is refused when there is too much, and how a server stops.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Overload")]
pub struct OverloadSettings {
    /// Connections at a time; those beyond are answered 503 at once
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Requests that are worked on at a time; those beyond are answered 503 at once
    #[arg(long, env = "MAX_REQUESTS_IN_FLIGHT", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_requests_in_flight: u32,

    /// MiB that the long bodies of requests may take in memory
    #[arg(long, env = "MAX_BODY_MEMORY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_body_memory: u32,

    /// MiB that long answers may take in memory until their clients have taken them
    #[arg(long, env = "MAX_RESPONSE_MEMORY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_response_memory: u32,

    /// Seconds for which a server that was told to stop goes on to answer, so that a load balancer sees it is not ready
    #[arg(long, env = "SHUTDOWN_DELAY", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub shutdown_delay: u32,
}
