//! Inventory: the units of each product in each store.

mod adjustment;
pub mod commands;
mod lookup;
mod model;
mod movement;
mod movement_queries;
mod queries;
mod routes;

pub use model::Inventory;
pub(crate) use queries::get;
pub use routes::router;
