//! Inventory: the units of each product in each store.

mod adjustment;
mod as_of;
pub mod commands;
mod explain;
mod lookup;
mod model;
mod movement;
mod movement_queries;
mod movement_search;
mod queries;
mod reversal;
mod reversal_queries;
mod routes;

pub use model::Inventory;
pub(crate) use queries::get;
pub use routes::router;
