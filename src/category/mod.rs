//! Categories: what products are sorted into.

pub mod commands;
mod model;
mod queries;
mod routes;

pub use model::{Category, CategoryName};
pub(crate) use queries::{existing, exists, get};
pub use routes::router;
