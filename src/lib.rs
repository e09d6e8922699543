//! Afforo: categories, products, stores, stock per store, and orders placed atomically against it.
//!
//! A module imports only from rows below its own. Modules in one row do not import each other. `tests/it/architecture.rs` reads
//! this table and enforces it.
//!
//! | Layer | Modules |
//! |---|---|
//! | Command line | `cli` |
//! | Entry point: routes, middleware, health | `server` |
//! | Console | `console` |
//! | Background work, demo data, consistency check | `worker`, `seed`, `check` |
//! | Orders | `order` |
//! | Transfers of stock | `transfer` |
//! | Stock counts | `stock_count` |
//! | Stock | `inventory` |
//! | Products | `product` |
//! | Categories and stores | `category`, `store` |
//! | What all endpoints share | `http` |
//! | Settings | `config` |
//! | Keys and accounts; stored answers; counters; ledger; partitions; ids of a time | `auth`, `idempotency`, `counters`, `ledger`, `partitions`, `timespan` |
//! | Foundation | `audit`, `db`, `delivery`, `money`, `outbox`, `shutdown`, `telemetry`, `timestamp` |
//! | Tools | `http_client`, `keyed_limiter` |
//! | Error texts | `error_chain` |
//!
//! `docs/ARCHITECTURE.md` describes how the modules work together.

pub mod audit;
pub mod auth;
pub mod category;
pub mod check;
pub mod cli;
pub mod config;
pub mod console;
pub mod counters;
pub mod db;
pub mod delivery;
pub mod error_chain;
pub mod http;
pub mod http_client;
pub mod idempotency;
pub mod inventory;
pub mod keyed_limiter;
pub mod ledger;
pub mod money;
pub mod order;
pub mod outbox;
pub mod partitions;
pub mod product;
pub mod seed;
pub mod server;
pub mod shutdown;
pub mod stock_count;
pub mod store;
pub mod telemetry;
pub mod timespan;
pub mod timestamp;
pub mod transfer;
pub mod worker;
