//! Categories: what products are sorted into.

mod model;
mod queries;
mod routes;

pub use model::CategoryName;
pub(crate) use queries::exists;
pub use routes::router;
