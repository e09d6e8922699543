//! Limits on concurrent work.

use clap::Args;

/// Limits of a server under overload, and the delay of its shutdown.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Overload")]
pub struct CapacitySettings {
    /// Maximum number of connections; further ones get 503 at once
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Maximum number of requests in progress; further ones get 503 at once
    #[arg(long, env = "MAX_REQUESTS_IN_FLIGHT", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_requests_in_flight: u32,

    /// Memory for long request bodies, in MiB
    #[arg(long, env = "MAX_BODY_MEMORY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_body_memory: u32,

    /// Memory for long responses until clients have received them, in MiB
    #[arg(long, env = "MAX_RESPONSE_MEMORY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_response_memory: u32,

    /// Seconds that a stopping server continues to answer, so that a load balancer sees it is not ready
    #[arg(long, env = "SHUTDOWN_DELAY", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub shutdown_delay: u32,
}
