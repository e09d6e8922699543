//! The one integration test binary.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cli;
mod devstack;
mod orders;
mod orders_race;
mod queue;
mod rate_limit;
mod support;
mod worker;
