//! Products: what can be ordered, and how it is found.

mod autocomplete;
mod model;
mod queries;
mod routes;
mod search;

pub use model::ProductSummary;
pub(crate) use queries::exists;
pub use routes::{RateLimits, router};
