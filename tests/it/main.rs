//! The one integration test binary.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test ends before a queue of its own can grow"
)]
#![allow(clippy::print_stdout, reason = "a test that is random prints its seed")]
#![allow(clippy::too_many_lines, reason = "a table of cases is as long as it is")]

mod abuse;
mod adjustments;
mod architecture;
mod auth;
mod autocomplete;
mod categories;
mod cli;
mod codes;
mod config;
mod console;
mod conventions;
mod counters;
mod database;
mod delivery;
mod documents;
mod dry_run;
mod failover;
mod fuzz;
mod health;
mod history;
mod idempotency;
mod inventory;
mod migrations;
mod movements;
mod openapi;
mod order_data;
mod order_documents;
mod orders;
mod orders_race;
mod orders_read;
mod overload;
mod partitions;
mod pooler;
mod products;
mod products_by_sku;
mod reservations;
mod reversals;
mod search;
mod search_fold;
mod statements;
mod stock_counts;
mod stores;
#[path = "../support/mod.rs"]
mod support;
mod telemetry;
mod transfers;
mod worker;
