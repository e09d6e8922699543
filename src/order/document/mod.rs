//! What happens to an order after it was confirmed: cancellations, fulfilments and returns.

mod commands;
mod decision;
mod kind;
mod queries;
mod request;
mod routes;
mod timeline;

pub use commands::{DocumentAnswer, add};
pub use kind::Kind;
pub use routes::router;
