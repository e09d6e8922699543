//! Orders: placed atomically against the stock of a store, all or nothing.

mod audit_columns;
mod backlog;
mod counts;
mod group_commit;
mod judge;
mod lane_database;
mod locked;
mod model;
mod place;
mod queries;
mod routes;
mod transaction;
pub mod upkeep;

pub use counts::describe_metrics;
pub use group_commit::{GroupCommit, Limits, PlaceError};
pub use model::{NewItem, NewOrder, Order, Outcome, PlacedOrder, Rejection, RejectionCode, Status};
pub use place::{Placed, place, place_at};
pub use queries::{ConfirmedOrder, confirmed, get};
pub use routes::router;
pub use transaction::{Batch, Fate, TransactError, Uncertain};
