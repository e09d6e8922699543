//! Products: what can be ordered, and how it is found.

mod autocomplete;
pub mod backfill;
mod model;
mod queries;
mod routes;
mod search;
pub mod text;

pub use model::ProductSummary;
pub(crate) use queries::exists;
pub use routes::{RateLimits, router};
