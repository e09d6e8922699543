//! The one integration test binary.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod autocomplete;
mod categories;
mod conventions;
mod devstack;
mod health;
mod house;
mod inventory;
mod openapi;
mod orders;
mod orders_race;
mod orders_read;
mod products;
mod queue;
mod rate_limit;
mod search;
mod settings;
mod stores;
mod support;
