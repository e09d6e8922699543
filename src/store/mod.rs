//! Stores: where stock is, and where orders are placed.

mod model;
mod queries;
mod routes;

pub use model::StoreSummary;
pub(crate) use queries::exists;
pub use routes::router;
