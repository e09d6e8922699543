//! Afforo: categories, products, stores, stock per store, and orders placed atomically against it.
//!
//! The map of the house, floor by floor. A room imports from the floors below it only, and within the domains in the
//! order `category`, `store` ← `product` ← `inventory` ← `order`; a test holds it to that. `docs/ARCHITECTURE.md` tells more.

// Ground floor: imports no other room, but for `auth`, which needs `audit`, `idempotency`, which needs `db`, and
// `config`, which names types of the others.
pub mod audit;
pub mod auth;
pub mod config;
pub mod counters;
pub mod db;
pub mod delivery;
pub mod idempotency;
pub mod ledger;
pub mod money;
pub mod outbox;
pub mod shutdown;
pub mod telemetry;
pub mod timestamp;

// First floor: the web kit, which names no domain.
pub mod http;

// Second floor: the domains.
pub mod category;
pub mod inventory;
pub mod order;
pub mod product;
pub mod store;

// Third floor: what works behind the doors, what fills the house, and what checks it.
pub mod check;
pub mod seed;
pub mod worker;

// Fourth floor: the doors. The server has the routes of the console among its own.
pub mod console;
pub mod server;

// Top floor.
pub mod cli;
