//! What the tests stand on.

pub mod app;
pub mod redis;
pub mod servers;
