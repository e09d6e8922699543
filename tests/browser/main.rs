//! The console in a real Chromium, as its operators have it. Every test ends with a look into the browser's logs: no
//! complaint, no request to anybody else.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod conflicts;
mod flash;
mod jobs;
mod keyboard;
mod keys;
mod kit;
mod kit_itself;
mod lists;
mod login;
mod orders;
mod pages;
mod plain;
mod screenshots;
mod stock;
#[allow(dead_code, reason = "it serves other tests as well")]
#[path = "../support/mod.rs"]
mod support;
