//! Inventory: how many pieces of a product a store has.

mod model;
mod movements;
mod queries;
mod routes;

pub use routes::router;
