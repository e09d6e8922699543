//! Helpers that all tests share.

pub mod accounts;
pub mod app;
pub mod books;
pub mod locks;
pub mod moving;
pub mod pgbouncer;
pub mod program;
pub mod redis;
pub mod servers;
pub mod settings;
pub mod standby;
pub mod walk;
