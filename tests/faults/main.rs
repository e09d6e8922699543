//! Fault injection while orders are placed: servers, workers and databases are killed, paused and disconnected.
//! No acknowledged order may be lost or placed twice. `docs/RELIABILITY.md` describes the scenarios.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::print_stdout,
    reason = "a scenario prints its seed and its line of the table"
)]

mod disconnects;
mod duplicates;
mod failover;
mod kill_storm;
mod kit;
mod limiter;
mod overload;
mod pooler;
mod postgres;
mod redis;
mod replicas;
mod stock;
mod stock_counts;
mod stock_model;
#[allow(dead_code, reason = "other tests use it too")]
#[path = "../support/mod.rs"]
mod support;
mod worker_kills;
