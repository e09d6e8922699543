//! Reservations: units of a store that are promised for a time, such as to a cart during checkout.
//!
//! A reservation ends exactly when it expires, without a job: a transaction that needs its units frees them under the locks of their
//! stock rows. The periodic job only tidies up.

mod commands;
mod model;
pub mod placement;
mod queries;
mod request;
mod routes;
mod status;
mod sweep;

pub(super) use commands::granted;
pub use model::{Reservation, ReservationItem};
pub(super) use model::{ended, not_found};
pub use queries::get;
pub use routes::router;
pub use status::ReservationStatus;
pub use sweep::{purge, sweep};
