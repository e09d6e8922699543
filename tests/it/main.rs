//! The one integration test binary.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod devstack;
mod house;
mod orders;
mod queue;
mod rate_limit;
mod settings;
mod support;
