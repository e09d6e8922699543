//! Rate limits per caller.

use std::{num::NonZeroU32, str::FromStr};

use clap::Args;

/// Rate limits that are off by default.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Rate limits")]
pub struct RateSettings {
    /// Writes per minute for each API key, or address without a key; counted by each server; not limited unless set
    #[arg(long, env = "WRITE_RATE_LIMIT", default_value = "", global = true)]
    pub write_rate_limit: RateLimit,

    /// Product searches per minute and client; not limited unless set
    #[arg(long, env = "SEARCH_RATE_LIMIT", default_value = "", global = true)]
    pub search_rate_limit: RateLimit,

    /// Login attempts per minute and client; not limited unless set
    #[arg(long, env = "LOGIN_RATE_LIMIT", default_value = "", global = true)]
    pub login_rate_limit: RateLimit,
}

/// Requests per minute; no limit if blank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit(pub Option<NonZeroU32>);

/// An invalid number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number from 1 to 1000000, or nothing")]
pub struct NotARateLimit;

impl FromStr for RateLimit {
    type Err = NotARateLimit;

    fn from_str(text: &str) -> Result<Self, NotARateLimit> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(None));
        }
        let limit: NonZeroU32 = text.parse().map_err(|_| NotARateLimit)?;
        (limit.get() <= 1_000_000)
            .then_some(Self(Some(limit)))
            .ok_or(NotARateLimit)
    }
}
