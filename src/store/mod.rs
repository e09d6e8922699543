//! Stores: where stock is, and where orders are placed.

pub mod commands;
mod model;
mod queries;
mod routes;

pub use model::{Store, StoreSummary};
pub(crate) use queries::{exists, get};
pub use routes::router;
