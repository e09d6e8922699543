//! Inventory: how many pieces of a product a store has.

pub mod commands;
mod model;
mod movement;
mod movement_queries;
mod queries;
mod routes;

pub use model::Inventory;
pub(crate) use queries::get;
pub use routes::router;
