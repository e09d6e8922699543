//! Orders: placed atomically against the stock of a store, all or nothing.

mod group_commit;
mod judge;
mod model;
mod place;
mod queries;
mod routes;
pub mod upkeep;

pub use group_commit::{GroupCommit, Limits, PlaceError};
pub use model::{NewItem, NewOrder, Outcome, PlacedOrder};
pub use place::{place, place_at, transact};
pub use queries::{ConfirmedOrder, confirmed};
pub use routes::router;
