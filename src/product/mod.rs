//! Products and their search.

mod autocomplete;
pub mod backfill;
mod bulk;
pub mod codes;
pub mod commands;
pub mod item;
mod model;
mod queries;
mod routes;
mod search;
mod search_query;
mod spellings;
pub mod text;
mod upsert;

pub(crate) use commands::NO_SUCH;
pub use model::{Product, ProductSummary};
pub(crate) use queries::{existing, exists, get};
pub use routes::{RateLimits, router};
