//! Transfers: units that leave one store and arrive in another, with what is in transit between them.

mod commands;
mod decision;
mod document;
mod model;
mod queries;
mod request;
mod routes;

pub use commands::{cancel, change, create, get, receive, ship};
pub use model::{Status, Transfer, TransferItem, TransferRow};
pub use queries::{Filter, list};
pub use routes::router;
