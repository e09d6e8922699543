//! Products and their search.

mod autocomplete;
pub mod backfill;
mod model;
mod queries;
mod routes;
mod search;
mod search_query;
mod spellings;
pub mod text;

pub use model::ProductSummary;
pub(crate) use queries::exists;
pub use routes::{RateLimits, router};
