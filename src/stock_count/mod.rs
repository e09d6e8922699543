//! Stock counts: people count the goods of a store while it goes on selling, and the differences are applied to its stock.

mod apply;
mod commands;
mod decision;
mod enter;
mod model;
mod queries;
mod request;
mod routes;
mod scope;
mod sheet;

pub use routes::router;
