//! Orders, placed atomically against the stock of a store.

mod allocation;
mod audit_columns;
mod backlog;
mod change;
pub mod commands;
mod data;
mod deferred;
pub mod document;
mod error;
mod filter;
mod group_commit;
mod lane;
mod lane_connection;
mod limits;
pub mod maintenance;
mod model;
mod place;
mod progress;
mod queries;
mod references;
mod request;
pub mod reservation;
mod routes;
mod row;
mod rows;
mod search;
mod transaction;

pub use data::{Customer, Metadata, OrderData};
pub use error::{PlaceError, PlaceResult};
pub use group_commit::GroupCommit;
pub use limits::Limits;
pub use model::{
    NewItem, NewOrder, Order, OrderItem, Outcome, PlacedOrder, Rejection, RejectionCode, Status,
};
pub use place::{Placed, place_at};
pub use progress::Progress;
pub use queries::{ConfirmedOrder, confirmed, get};
pub use routes::{placement_router, router};
pub use rows::Times;
pub use transaction::{Batch, CommitOutcome, TransactError, UnknownCommit};
