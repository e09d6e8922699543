//! Products and their search.

mod autocomplete;
pub mod backfill;
pub mod commands;
mod model;
mod queries;
mod routes;
mod search;
mod search_query;
mod spellings;
pub mod text;

pub use model::{Product, ProductSummary};
pub(crate) use queries::{exists, get};
pub use routes::{RateLimits, router};
