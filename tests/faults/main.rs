//! What breaks, on purpose, while orders are placed: the real program in processes of its own, on servers of its own.
//! Nothing that was acknowledged may be lost, and nothing may be done twice. `docs/RELIABILITY.md` tells of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::print_stdout,
    reason = "a scenario prints its seed and its line of the table"
)]

mod duplicates;
mod failover;
mod kill_storm;
mod kit;
mod leaving;
mod limiter;
mod overload;
mod postgres;
mod redis;
mod stock;
#[allow(dead_code, reason = "it serves other tests as well")]
#[path = "../support/mod.rs"]
mod support;
mod worker_murder;
