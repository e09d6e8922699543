//! Orders, placed atomically against the stock of a store.

mod allocation;
mod audit_columns;
mod backlog;
pub mod commands;
mod deferred;
mod error;
mod group_commit;
mod lane;
mod lane_connection;
mod limits;
pub mod maintenance;
mod model;
mod place;
mod queries;
mod routes;
mod transaction;

pub use error::{PlaceError, PlaceResult};
pub use group_commit::GroupCommit;
pub use limits::Limits;
pub use model::{NewItem, NewOrder, Order, Outcome, PlacedOrder, Rejection, RejectionCode, Status};
pub use place::{Placed, place_at};
pub use queries::{ConfirmedOrder, confirmed, get};
pub use routes::{placement_router, router};
pub use transaction::{Batch, CommitOutcome, TransactError, UnknownCommit};
